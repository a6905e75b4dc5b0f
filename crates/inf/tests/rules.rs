//! Each rule, broken by one change to the driver's own INF.

use inf::{Architecture::Amd64, Date, Finding, Mode, Severity, check};

fn ours() -> String {
    let template = include_str!("../../../inf/headroom.inx");
    inf::stamp(template, Amd64, Date::of_unix_time(1_767_225_600), "0.1.0").unwrap()
}

fn findings(text: &str, mode: Mode) -> Vec<String> {
    let inf = inf::parse(text.as_bytes()).unwrap();
    check(&inf, mode).iter().map(Finding::to_string).collect()
}

#[test]
fn the_drivers_inf_breaks_none() {
    for mode in [Mode::Windows, Mode::Signature] {
        assert_eq!(findings(&ours(), mode), Vec::<String>::new());
    }
}

/// What to change, into what, and what is said then: the severity, the rule, and a part of the sentence.
const BROKEN: &[(&str, &str, &str)] = &[
    (
        "[DefaultInstall.NTamd64]",
        "[DefaultInstall.NTamd64.10.0...19041]",
        "error \"INF DefaultInstall Section\": [DefaultInstall.NTamd64.10.0...19041]: no Windows before 10.0.25952",
    ),
    (
        "10.0...25952",
        "10.0...20000",
        "error 1199: instances below Parameters",
    ),
    (
        "\"$Windows NT$\"",
        "\"$Chicago$\"",
        "error 1001: expected Signature",
    ),
    (
        "[Version]",
        "[Vershun]",
        "error 1001: expected a section [Version]",
    ),
    (
        "The Headroom project",
        "Zo\u{eb}",
        "error 1003: the file is UTF-8",
    ),
    (
        "= 13\nHeadroom.Files ",
        "= x\nHeadroom.Filez ",
        "error 1006: `x` is no directory",
    ),
    (
        "headroom.sys = 1",
        "headroom.sys = 1,x64",
        "error 1100: `headroom.sys` has another name or directory",
    ),
    (
        "[Headroom.Files]\nheadroom.sys",
        "[Headroom.Files]\nh.sys,headroom.sys",
        "error 1100: `h.sys`",
    ),
    ("10.0...25952", "10.0...10240", "error 1199: directory 13"),
    (
        "\"Instances\\\"%InstanceName%,\"A",
        "\"Parameters\\Instances\\\"%InstanceName%,\"A",
        "error \"Creating an INF",
    ),
    (
        "AddReg         = Headroom.Instances,",
        "AddReg         = Nowhere,",
        "error 1203: AddReg names section [Nowhere]",
    ),
    (
        "Headroom.Files.Removed   = 12",
        "Nowhere = 12",
        "error 1203: [DestinationDirs] names section [Nowhere]",
    ),
    ("%ProviderName%", "Microsoft", "error 1204: Provider"),
    (
        "DelFiles        = Headroom.Files.Removed",
        "DelFiles = Headroom.Files.Downlevel",
        "warning 1205",
    ),
    (
        "[SourceDisksNames]",
        "[Manufacturer]\n%X% = M\n[SourceDisksNames]",
        "error 1212",
    ),
    ("0.1.0.0", "0.1.0", "error 1217: `0.1.0` is no version"),
    (
        "0.1.0.0",
        "0.1.0.65536",
        "error 1217: `0.1.0.65536` is no version",
    ),
    (
        "01/01/2026",
        "2026-01-01",
        "error 1217: `2026-01-01` is no date",
    ),
    ("DriverVer", "X", "error 1217: expected DriverVer"),
    (
        "HKR,\"Parameters\",\"UncOnly\"",
        "HKLM,\"SYSTEM\\CurrentControlSet\\Services\\x\",\"UncOnly\"",
        "error 1221",
    ),
    (
        "headroom.sys = 1",
        "other.sys = 1",
        "error 1230: `headroom.sys` is not in",
    ),
    ("CatalogFile", "X", "error 1233: expected CatalogFile"),
    (
        "%DiskName%",
        "%Nothing%",
        "error 1235: string token `Nothing`",
    ),
    (
        "[Strings]",
        "[ClassInstall32]\na=b\n[Strings]",
        "error 1285",
    ),
    (
        "[Strings]",
        "[DefaultInstall.NTamd64.10.0...25952.CoInstallers]\na=b\n[Strings]",
        "error 1300",
    ),
    (
        "OptionDesc",
        "ProfileItems = Headroom.Files\nOptionDesc",
        "error 1301: ProfileItems",
    ),
    (
        "AddService = ",
        "DelService = other\nAddService = ",
        "error 1302: DelService",
    ),
    ("\"UncOnly\"", "\"CoInstallers32\"", "error 1303"),
    (
        "HKR,\"Parameters\",\"UncOnly\"",
        "HKCR,\"x\",\"UncOnly\"",
        "warning 1304: HKCR\\x",
    ),
    (
        "\"ExpandPolicy\",0x00000002",
        "\"ExpandPolicy\",0x00010008",
        "error 1305: `ExpandPolicy`",
    ),
    (
        "Headroom.Files.Downlevel = 12",
        "Headroom.Files.Downlevel = 16422",
        "warning 1306",
    ),
    (
        "HKR,\"Parameters\",\"UncOnly\",0x00010003",
        "HKLM,\"SOFTWARE\\x\",,0x10",
        "error 1320",
    ),
    (
        "HKR,\"Parameters\",\"UncOnly\"",
        "HKLM,\"SOFTWARE\\x\",\"UncOnly\"",
        "error 1321",
    ),
    (
        "Headroom.Files           = 13",
        "Headroom.Files           = 12",
        "error 1322",
    ),
    (
        "Headroom.Files.Downlevel = 12",
        "Headroom.Files.Downlevel = 99",
        "error 1322",
    ),
    (
        "HKR,\"Parameters\",\"UncOnly\"",
        "HKR,\"Settings\",\"UncOnly\"",
        "error 1323: `Settings\\UncOnly`",
    ),
    ("PnpLockdown = 1", "PnpLockdown = 0", "error 1324"),
    (
        "[Headroom.Files.Downlevel]\nheadroom.sys",
        "[Headroom.Files.Downlevel]\nheadroom.sys\nheadroom.sys,o.sys",
        "error 1330",
    ),
    (
        "\"DebugPrint\",0x00010003,0",
        "\"UncOnly\",0x00010003,0",
        "error 1332",
    ),
    (
        "[Strings]",
        "[Lonely]\na=b\n[Strings]",
        "warning 2083: nothing refers to section [Lonely]",
    ),
    (
        "%13%\\headroom.sys",
        "%13%\\other.sys",
        "error 2084: %13%\\other.sys",
    ),
    (
        "ClassGuid ",
        "X ",
        "error \"Creating a primitive driver\": expected ClassGuid",
    ),
    (
        "[DefaultInstall.NTamd64]",
        "[DefaultInstall]",
        "names no architecture",
    ),
    ("LegacyUninstall = 1", "X = 1", "LegacyUninstall = 1 only"),
    (
        "DefaultInstall.",
        "D.",
        "expected a section [DefaultInstall.NT",
    ),
    (
        "Dependencies   = FltMgr",
        "X = y",
        "expected Dependencies = FltMgr",
    ),
    (
        "ErrorControl   = 1",
        "ErrorControl   = 3",
        "ErrorControl is 3",
    ),
    (
        "LoadOrderGroup = \"FSFilter Activity Monitor\"",
        "X = y",
        "expected LoadOrderGroup",
    ),
    (
        "\"FSFilter Activity Monitor\"",
        "\"Network\"",
        "`Network` is none",
    ),
    ("378600.5", "328000", "not in 360000-389999"),
    ("378600.5", "378600.5.5", "an altitude is a decimal number"),
    ("\"ActivityMonitor\"", "\"Volume\"", "Class is Volume"),
    ("b86dff51", "b86dff52", "ClassGuid is {b86dff52"),
    (
        "ServiceType    = 2",
        "ServiceType    = 1",
        "installs a file system driver",
    ),
];

#[test]
fn each_rule_can_be_broken() {
    let text = ours();
    for (there, instead, expected) in BROKEN {
        assert!(text.contains(there), "{there} is not in the INF");
        let said = findings(&text.replace(there, instead), Mode::Windows);
        assert!(
            said.iter().any(|finding| finding.contains(expected)),
            "{there} > {instead}: expected `{expected}` among {said:#?}"
        );
    }
}

#[test]
fn a_signature_allows_what_isolation_does_not() {
    let text = ours();
    let there = "Headroom.Files           = 13";
    let text = text
        .replace(there, "Headroom.Files = 12")
        .replace("%13%", "%12%")
        .replace("HKR,\"Parameters\",\"UncOnly\"", "HKR,,\"UncOnly\"");
    assert_eq!(findings(&text, Mode::Signature), Vec::<String>::new());
    assert_eq!(findings(&text, Mode::Windows).len(), 2);
}

#[test]
fn an_older_form_alone_is_held_to_the_newest_rules() {
    let text = ours().replace("10.0...25952", "10.0...x");
    let said = findings(&text, Mode::Windows).join("\n");
    assert!(
        said.contains("error 1322") && said.contains("error 1323"),
        "{said}"
    );
}

#[test]
fn a_finding_says_where_it_is() {
    let text = ours().replace("PnpLockdown", "X");
    let inf = inf::parse(text.as_bytes()).unwrap();
    let found = check(&inf, Mode::Windows);
    assert_eq!((found.len(), found[0].severity), (1, Severity::Error));
    let line = text.lines().position(|line| line == "[Version]").unwrap() + 1;
    assert_eq!(found[0].at.line, line);
}
