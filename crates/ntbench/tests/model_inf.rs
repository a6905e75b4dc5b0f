//! A driver as its INF file installs it: service name, altitude and settings, in both forms that Windows knows.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod model;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use model::{Bench, callbacks, compile, lines};
use ntbench::NtStatus;
use ntbench::wire::{DriverSpec, KeyValue, RegistryValue};

/// An isolated form and one for older Windows, told apart by what they set.
const INF: &str = r#"
[Version]
Signature = "$Windows NT$"
[DefaultInstall.NTamd64.10.0...25952]
[DefaultInstall.NTamd64.10.0...25952.Services]
AddService = %Name%,,Service
[DefaultInstall.NTamd64]
[DefaultInstall.NTamd64.Services]
AddService = %Name%,,Service.Downlevel
[Service]
ServiceType   = 2
StartType     = 3
ServiceBinary = %13%\logger.sys
AddReg        = Isolated
[Service.Downlevel]
ServiceType   = 2
StartType     = 3
ServiceBinary = %12%\logger.sys
AddReg        = Downlevel
[Isolated]
HKR,"Parameters","Answer",0x00010001,7
HKR,"Parameters\Instances","DefaultInstance",0x00000000,"Top"
HKR,"Parameters\Instances\Top","Altitude",0x00000000,"389999.5"
HKR,"Parameters\Instances\Top","Flags",0x00010001,0
[Downlevel]
HKR,"Parameters","Answer",0x00010001,8
HKR,"Instances","DefaultInstance",0x00000000,"Bottom"
HKR,"Instances\Bottom","Altitude",0x00000000,"40000"
HKR,"Instances\Bottom","Flags",0x00010001,0
[Strings]
Name = "spy"
"#;

fn spec(image: &Path, inf: &Path, build: u32) -> DriverSpec {
    let inf = inf::read(inf).unwrap();
    let service = inf::minifilter(&inf, inf::Architecture::Amd64, build).unwrap();
    DriverSpec::installed(image, &service)
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("logger.inf");
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn each_form_gives_its_name_its_setting_and_its_altitude() {
    for (build, answer, first) in [(26_100, 7, "spy"), (19_045, 8, "opener")] {
        let image = compile("logger", &["DEFECT=99"]);
        let inf = written(image.parent().unwrap(), INF);
        let bench = Bench::new();
        assert_eq!(bench.load(compile("opener", &[])), NtStatus::SUCCESS);
        let spec = spec(&image, &inf, build);
        let status = bench.machine.load_driver(spec).unwrap().status;
        assert_eq!(status, NtStatus::SUCCESS);
        assert_eq!(bench.open("\\Docs\\Deep\\Readme.txt"), NtStatus::SUCCESS);
        let trace = bench.trace();
        let entry = format!(
            "entry \\Registry\\Machine\\System\\CurrentControlSet\\Services\\spy answer={answer}"
        );
        assert!(lines(&trace).contains(&&*entry), "{:?}", lines(&trace));
        let creates = callbacks(&trace)
            .into_iter()
            .find(|callback| callback.phase == "pre" && callback.operation == "IRP_MJ_CREATE");
        assert_eq!(creates.expect("a create").filter, first, "build {build}");
        assert_eq!(
            bench.machine.unload_driver("spy").unwrap(),
            NtStatus::SUCCESS
        );
        bench.end();
    }
}

#[test]
fn the_key_is_what_the_inf_says_and_no_more() {
    let image = compile("logger", &["DEFECT=99"]);
    let without_settings = INF.replace("HKR,\"Parameters\",\"Answer\",0x00010001,8\n", "");
    let inf = written(image.parent().unwrap(), &without_settings);
    let spec = spec(&image, &inf, 19_045);
    let path = KeyValue {
        subkey: String::new(),
        name: "ImagePath".to_owned(),
        value: RegistryValue::ExpandSz(r"\SystemRoot\System32\drivers\logger.sys".to_owned()),
    };
    assert!(spec.values.contains(&path), "{:?}", spec.values);
    let bench = Bench::new();
    assert_eq!(
        bench.machine.load_driver(spec).unwrap().status,
        NtStatus::SUCCESS
    );
    let trace = bench.trace();
    assert!(
        lines(&trace)[0].ends_with("answer=0"),
        "{:?}",
        lines(&trace)
    );
    bench.end();
}

fn ntbench(arguments: &[&Path]) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_ntbench"))
        .arg("run")
        .args(arguments)
        .output();
    run.expect("the command runs")
}

#[test]
fn an_inf_is_taken_when_it_is_named_and_only_then() {
    let image = compile("logger", &["DEFECT=99"]);
    let inf = written(image.parent().unwrap(), INF);
    let output = ntbench(&[&image]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.contains("Services\\logger answer=0"), "{out}");
    assert!(err.contains("was not read; --inf"), "{err}");

    let output = ntbench(&[&image, Path::new("--inf"), &inf]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(out.contains("Services\\spy answer=8"), "{out}");
    assert!(!err.contains("was not read"), "{err}");
}

#[test]
fn an_inf_with_errors_is_refused_by_file_line_and_what_is_expected() {
    let cases = [
        (
            INF.replace("389999.5", "high"),
            ":23:54:",
            "an altitude is a decimal number",
        ),
        (
            INF.replace("HKR,\"Parameters\",\"Answer\",0x00010001,7", "HKX,a"),
            ":21:",
            "expected a registry root",
        ),
        (INF.replace("[Service]", "[Service"), ":10:", "expected `]`"),
        (
            INF.replace("amd64", "arm64"),
            ":1:",
            "expected a section [DefaultInstall.NTamd64",
        ),
    ];
    for (text, line, expected) in cases {
        let image = compile("logger", &["DEFECT=99"]);
        let inf = written(image.parent().unwrap(), &text);
        let windows = ["--inf", "--windows", "26100"].map(Path::new);
        let output = ntbench(&[&image, windows[0], &inf, windows[1], windows[2]]);
        let (_, err) = texts(&output);
        assert_eq!(output.status.code(), Some(2), "{err}");
        let place = format!("{}{line}", inf.display());
        assert!(
            err.contains(&place) && err.contains(expected),
            "{place} {expected}: {err}"
        );
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
