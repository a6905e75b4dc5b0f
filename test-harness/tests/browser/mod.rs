//! A page in headless Chromium: where things lie on it, what it fetched, what it looks like.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// What the page is looked at as wide.
pub(crate) const WIDTH: u32 = 1100;

/// A browser.
pub(crate) struct Browser {
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// The scheme that the reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Light,
    Dark,
}

/// Where things lie on a page, and what it asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Probe {
    pub(crate) height: u32,
    /// How far the page is wider than its window.
    pub(crate) overflow: i64,
    pub(crate) plots: Vec<Plot>,
    /// Everything that the page asked for.
    pub(crate) resources: Vec<String>,
}

/// A plot on the page.
#[derive(Debug, Deserialize)]
pub(crate) struct Plot {
    pub(crate) name: String,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// A picture of a page, and what the browser's console said of it.
pub(crate) struct Shot {
    width: u32,
    rgb: Vec<u8>,
    pub(crate) console: Vec<String>,
}

type Colour = [u8; 3];

const PROBE: &str = r#"<script>addEventListener("load", () => {
  const plots = [...document.querySelectorAll("[data-plot]")].map(e => { const r = e.getBoundingClientRect();
    return { name: e.dataset.plot, x: Math.round(r.x), y: Math.round(r.y), width: Math.round(r.width), height: Math.round(r.height) }; });
  const told = { height: document.documentElement.scrollHeight, overflow: document.documentElement.scrollWidth - innerWidth, plots,
    resources: performance.getEntriesByType("resource").map(e => e.name) };
  document.body.textContent = "PROBE" + JSON.stringify(told) + "EBORP"; });</script>"#;

impl Browser {
    /// The one that is named by `HEADROOM_CHROMIUM` or found in PATH; without one the test that asks is skipped, and says so.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let named = std::env::var_os("HEADROOM_CHROMIUM").map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = || {
            let programs = ["chromium", "chromium-browser", "google-chrome"];
            std::env::split_paths(&path)
                .flat_map(|folder| programs.map(|program| folder.join(program)))
                .find(|program| program.is_file())
        };
        let Some(program) = named.or_else(found) else {
            // Past the test harness, which shows what a test prints only where it fails.
            let _ = writeln!(
                std::io::stderr(),
                "skipped: {test}: no chromium in PATH, and HEADROOM_CHROMIUM names none"
            );
            return None;
        };
        Some(Self {
            program,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the browser over a page, to its end; gives back what it printed, and on its console.
    fn run(&self, page: &str, scheme: Scheme, args: &[String]) -> (String, String) {
        let file = self.path("page.html");
        fs::write(&file, page).unwrap();
        let (out, err) = (self.path("out.txt"), self.path("err.txt"));
        let preferred = match scheme {
            Scheme::Dark => 0,
            Scheme::Light => 1,
        };
        let mut child = Command::new(&self.program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--disable-dev-shm-usage",
                "--force-device-scale-factor=1",
                "--force-color-profile=srgb",
                "--enable-logging=stderr",
                "--log-level=0",
            ])
            // Nothing of the browser's own reaches a network either.
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--host-resolver-rules=MAP * ~NOTFOUND",
            ])
            .arg(format!("--blink-settings=preferredColorScheme={preferred}"))
            .arg(format!(
                "--user-data-dir={}",
                self.path("profile").display()
            ))
            .args(args)
            .arg(format!("file://{}", file.display()))
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if start.elapsed() > Duration::from_secs(600) {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        let told = read(&err);
        assert!(
            status.is_some_and(|status| status.success()),
            "the browser ended with {status:?}:\n{told}"
        );
        (read(&out), told)
    }

    /// Looks where things lie. The copy that is looked at may run the script that looks, and may fetch.
    pub(crate) fn probe(&self, page: &str) -> Probe {
        let (before, policy) = page
            .split_once("<meta http-equiv=")
            .expect("it has a policy");
        let (_, after) = policy.split_once('>').unwrap();
        let page = format!("{before}{PROBE}{after}");
        let size = format!("--window-size={WIDTH},800");
        let (dom, told) = self.run(&page, Scheme::Light, &[size, "--dump-dom".to_owned()]);
        let body = dom.split_once("<body").map_or("", |(_, body)| body);
        let probe = body
            .split_once("PROBE")
            .and_then(|(_, rest)| rest.split_once("EBORP"));
        let Some((json, _)) = probe else {
            panic!("the page did not load:\n{told}");
        };
        serde_json::from_str(&json.replace("&amp;", "&")).unwrap()
    }

    /// Takes a picture of the whole page.
    pub(crate) fn shot(&self, page: &str, scheme: Scheme, height: u32) -> Shot {
        let file = self.path("shot.png");
        let args = [
            format!("--window-size={WIDTH},{height}"),
            format!("--screenshot={}", file.display()),
        ];
        let (_, told) = self.run(page, scheme, &args);
        let console = told
            .lines()
            .filter(|line| line.contains(":CONSOLE"))
            .map(str::to_owned)
            .collect();
        let decoder = png::Decoder::new(BufReader::new(File::open(&file).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let bytes = info.color_type.samples();
        assert!(bytes >= 3 && info.bit_depth == png::BitDepth::Eight);
        Shot {
            width: info.width,
            rgb: pixels[..info.buffer_size()]
                .chunks_exact(bytes)
                .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
                .collect(),
            console,
        }
    }
}

impl Shot {
    pub(crate) fn pixel(&self, x: u32, y: u32) -> Option<Colour> {
        let at = (y as usize * self.width as usize + x as usize) * 3;
        let bytes = self.rgb.get(at..at + 3)?;
        Some([bytes[0], bytes[1], bytes[2]])
    }

    /// In how many columns and rows of the plot the colour stands.
    pub(crate) fn extent(&self, plot: &Plot, colour: Colour) -> (usize, usize) {
        let has = |x, y| self.pixel(x, y) == Some(colour);
        let (xs, ys) = (plot.x..plot.x + plot.width, plot.y..plot.y + plot.height);
        let columns = xs
            .clone()
            .filter(|&x| ys.clone().any(|y| has(x, y)))
            .count();
        let rows = ys.filter(|&y| xs.clone().any(|x| has(x, y))).count();
        (columns, rows)
    }
}

/// The colours that a style sheet names, for light and for dark.
pub(crate) fn colours(sheet: &str) -> [BTreeMap<String, Colour>; 2] {
    let dark = sheet.find("@media (prefers-color-scheme: dark)").unwrap();
    let print = sheet.find("@media print").unwrap();
    [&sheet[..dark], &sheet[dark..print]].map(|part| {
        part.split("--")
            .filter_map(|declaration| {
                let (name, value) = declaration.split_once(": #")?;
                let value = u32::from_str_radix(value.get(..6)?, 16).ok()?;
                let [_, red, green, blue] = value.to_be_bytes();
                Some((name.to_owned(), [red, green, blue]))
            })
            .collect()
    })
}
