//! The linker, run so that its output depends on its input alone.
//!
//! lld writes the directory it runs in, its own path and its whole command line into the .pdb, and derives the image's debug identity from
//! the .pdb's content; rustc names some inputs in a temporary directory that is another one each time. So the real lld runs in a fresh
//! directory in which every input stands, as a link, under its mere file name, and says that this directory is called `/headroom`.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use super::{LLD_VARIABLE, variable};

/// Raise when the way of linking changes what comes out.
pub(crate) const REVISION: u32 = 1;

/// Runs the real lld with rustc's arguments.
pub(super) fn run(args: Vec<OsString>) -> Result<ExitCode> {
    let args = args.into_iter().map(|arg| {
        arg.into_string()
            .map_err(|arg| anyhow::anyhow!("{} is not UTF-8", arg.display()))
    });
    let args = args.collect::<Result<Vec<_>>>()?;
    let plan = Plan::new(&args, &mut |path| path.is_file())?;
    let out_dir = plan
        .out
        .parent()
        .context("the output lies in a directory")?;
    let stage = out_dir.join(format!(".link-{}", std::process::id()));
    let status = link_in(&stage, &plan);
    let removed = fs::remove_dir_all(&stage);
    let status = status?;
    removed.with_context(|| format!("cannot remove {}", stage.display()))?;
    Ok(if status {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn link_in(stage: &Path, plan: &Plan) -> Result<bool> {
    let inputs = stage.join(INPUTS);
    fs::create_dir_all(&inputs).with_context(|| format!("cannot create {}", inputs.display()))?;
    for (name, original) in &plan.links {
        let link = stage.join(name);
        if let Some(dir) = link.parent() {
            fs::create_dir_all(dir)?;
        }
        symlink(std::path::absolute(original)?, &link)
            .with_context(|| format!("cannot link {}", link.display()))?;
    }
    let lld = variable(LLD_VARIABLE)?;
    let status = Command::new(&lld)
        // By this name lld acts as lld-link, and this is what it notes in the .pdb.
        .arg0("lld-link")
        .args(&plan.args)
        .current_dir(stage)
        .status()
        .with_context(|| format!("cannot run {}", lld.display()))?;
    if status.success() {
        let out_dir = plan
            .out
            .parent()
            .context("the output lies in a directory")?;
        for entry in fs::read_dir(stage)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::rename(entry.path(), out_dir.join(entry.file_name()))?;
            }
        }
    }
    Ok(status.success())
}

/// Where inputs stand in the stage.
const INPUTS: &str = "in";

/// How to link.
#[derive(Debug)]
struct Plan {
    /// Where rustc wants the image.
    out: PathBuf,
    /// Names in the stage, and what they stand for.
    links: Vec<(String, PathBuf)>,
    /// The arguments, free of machine paths.
    args: Vec<String>,
}

impl Plan {
    fn new(given: &[String], is_file: &mut dyn FnMut(&Path) -> bool) -> Result<Self> {
        let mut out = None;
        let mut names = Names::default();
        let mut args = vec!["/PDBSOURCEPATH:/headroom".to_owned()];
        // rustc says `-flavor link` to whatever is called lld-link; lld takes its flavor from the name that `link_in` gives it.
        for arg in given
            .strip_prefix(&["-flavor".to_owned(), "link".to_owned()])
            .unwrap_or(given)
        {
            if arg.starts_with('@') {
                bail!(
                    "response files are not understood ({arg}); please report how this came about"
                );
            }
            let option = arg
                .strip_prefix(['/', '-'])
                .and_then(|rest| rest.split_once(':'));
            let (name, value) = option.map_or((String::new(), ""), |(name, value)| {
                (name.to_uppercase(), value)
            });
            args.push(match &*name {
                "OUT" => {
                    out = Some(PathBuf::from(value));
                    format!("/OUT:{}", file_name(value)?)
                }
                // Files that are written: into the stage, from where they go to where the image goes.
                "PDB" | "IMPLIB" | "MAP" | "LLDMAP" => format!("/{name}:{}", file_name(value)?),
                // What is read.
                "LIBPATH" => format!("/LIBPATH:{}", names.directory(Path::new(value))),
                "DEF" | "NATVIS" | "WHOLEARCHIVE" if is_file(Path::new(value)) => {
                    format!("/{name}:{}", names.file(Path::new(value))?)
                }
                _ if is_file(Path::new(arg)) => names.file(Path::new(arg))?,
                _ => arg.clone(),
            });
        }
        Ok(Self {
            out: out.context("rustc named no output")?,
            links: names.links,
            args,
        })
    }
}

fn file_name(path: &str) -> Result<&str> {
    Path::new(path)
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("`{path}` names no file"))
}

/// Names in the stage for the things that stand in it.
#[derive(Default)]
struct Names {
    links: Vec<(String, PathBuf)>,
    known: HashMap<PathBuf, String>,
    taken: HashMap<String, u32>,
}

impl Names {
    fn file(&mut self, path: &Path) -> Result<String> {
        let name = file_name(path.to_str().context("a path is not UTF-8")?)?.to_owned();
        Ok(self.name(path, &name))
    }

    fn directory(&mut self, path: &Path) -> String {
        self.name(path, "lib")
    }

    /// One name for one path; the second path of the same name stands in a directory of its own.
    fn name(&mut self, path: &Path, name: &str) -> String {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let count = self.taken.entry(name.to_owned()).or_default();
        let staged = if *count == 0 {
            format!("{INPUTS}/{name}")
        } else {
            format!("{INPUTS}/{count}/{name}")
        };
        *count += 1;
        self.links.push((staged.clone(), path.to_path_buf()));
        self.known.insert(path.to_path_buf(), staged.clone());
        staged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Result<Plan> {
        let args: Vec<_> = line.split(' ').map(str::to_owned).collect();
        Plan::new(&args, &mut |path| {
            path.extension().is_some_and(|extension| {
                ["o", "rlib", "lib", "def"].iter().any(|e| extension == *e)
            })
        })
    }

    #[test]
    fn the_same_link_from_two_places_is_the_same_command() {
        let line = |root: &str, random: &str| {
            format!(
                "/NOLOGO {random}/symbols.o {root}/deps/a.o {root}/deps/libb-1.rlib /LIBPATH:{root}/lib /LIBPATH:/other/lib ntoskrnl.lib.not \
                 /OUT:{root}/deps/headroom.dll /IMPLIB:{root}/deps/headroom.dll.lib /DEF:{random}/lib.def /ENTRY:DriverEntry /DEBUG"
            )
        };
        let one = plan(&line("/home/a", "/tmp/rustcAAAA")).unwrap();
        let two = plan(&line("/srv/x/y", "/tmp/rustcBBBB")).unwrap();
        assert_eq!(one.args, two.args);
        assert!(
            one.args
                .iter()
                .all(|arg| !arg.contains("home") && !arg.contains("tmp")),
            "{:?}",
            one.args
        );
        assert_eq!(one.out, Path::new("/home/a/deps/headroom.dll"));
        assert!(
            one.args.contains(&"/LIBPATH:in/lib".to_owned())
                && one.args.contains(&"/LIBPATH:in/1/lib".to_owned())
        );
    }

    #[test]
    fn two_files_of_one_name_stay_two_and_one_file_stays_one() {
        let plan = plan("-flavor link /a/x.lib /b/x.lib /a/x.lib /OUT:/o/y.dll").unwrap();
        assert_eq!(
            plan.args[1..],
            ["in/x.lib", "in/1/x.lib", "in/x.lib", "/OUT:y.dll"]
        );
        assert_eq!(plan.links.len(), 2);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert!(
            plan("@/tmp/args /OUT:/o/y.dll")
                .unwrap_err()
                .to_string()
                .contains("response files")
        );
        assert!(
            plan("/a/x.lib")
                .unwrap_err()
                .to_string()
                .contains("no output")
        );
    }
}
