//! What the driver's own INF installs, and what is said of one that installs no minifilter.

use inf::{Architecture::Amd64, Data, Date, ErrorKind, Inf, minifilter};

const TEMPLATE: &str = include_str!("../../../inf/headroom.inx");

fn stamped() -> String {
    let date = Date::of_unix_time(1_767_225_600);
    inf::stamp(TEMPLATE, Amd64, date, "0.1.0").unwrap()
}

fn ours() -> Inf {
    inf::parse(stamped().as_bytes()).unwrap()
}

#[test]
fn both_forms_install_the_same_service_in_their_own_places() {
    let inf = ours();
    assert_eq!(inf.undefined_tokens, []);
    let isolated = minifilter(&inf, Amd64, 26_100).unwrap();
    let downlevel = minifilter(&inf, Amd64, 19_045).unwrap();
    assert_eq!(isolated, minifilter(&inf, Amd64, 25_952).unwrap());
    assert_eq!(downlevel, minifilter(&inf, Amd64, 25_951).unwrap());
    assert_eq!(isolated.section, "DefaultInstall.NTamd64.10.0...25952");
    assert_eq!(downlevel.section, "DefaultInstall.NTamd64");
    assert_eq!(isolated.instances_key, r"Parameters\Instances");
    assert_eq!(downlevel.instances_key, "Instances");
    assert_eq!(isolated.image_path(r"\store"), r"\store\headroom.sys");
    assert_eq!(
        downlevel.image_path(r"\store"),
        r"\SystemRoot\System32\drivers\headroom.sys"
    );
    for service in [&isolated, &downlevel] {
        assert_eq!(service.name, "headroom");
        assert_eq!(service.file_name(), "headroom.sys");
        assert_eq!((service.service_type, service.start_type), (2, 3));
        assert_eq!(service.dependencies, ["FltMgr"]);
        assert_eq!(
            service.load_order_group.as_deref(),
            Some("FSFilter Activity Monitor")
        );
        assert_eq!(service.instances.len(), 1);
        let instance = &service.instances[0];
        assert_eq!(
            (&*instance.name, &*instance.altitude, instance.flags),
            ("Headroom Instance", "378600.5", 0)
        );
    }
    let settings = |service: &inf::Service| {
        service
            .parameters()
            .filter(|(name, _)| *name != "SupportedFeatures")
            .map(|(name, data)| (name.to_owned(), data.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(settings(&isolated), settings(&downlevel));
    assert_eq!(settings(&isolated).len(), 10);
}

#[test]
fn the_service_key_is_whole() {
    let key = minifilter(&ours(), Amd64, 19_045).unwrap().key("");
    let find = |subkey: &str, name: &str| {
        let found = key
            .iter()
            .find(|value| value.subkey == subkey && value.name == name);
        found.map(|value| value.data.clone())
    };
    assert_eq!(find("", "Type"), Some(Data::Dword(2)));
    assert_eq!(
        find("", "DependOnService"),
        Some(Data::MultiSz(vec!["FltMgr".to_owned()]))
    );
    assert_eq!(find("", "SupportedFeatures"), Some(Data::Dword(3)));
    assert_eq!(
        find(r"Instances\Headroom Instance", "Altitude"),
        Some(Data::Sz("378600.5".to_owned()))
    );
    assert_eq!(
        find("Parameters", "ReservationBytes"),
        Some(Data::Dword(0x6000))
    );
}

#[test]
fn another_architecture_or_a_windows_that_reads_no_versions_finds_nothing_to_install() {
    let ours = stamped();
    let versions = ours.replace(
        "DefaultInstall.NTamd64]",
        "DefaultInstall.NTamd64.10.0...19041]",
    );
    for (text, architecture, build) in [
        (&ours, inf::Architecture::Arm64, 26_100),
        (&versions, Amd64, 19_045),
    ] {
        let inf = inf::parse(text.as_bytes()).unwrap();
        let error = minifilter(&inf, architecture, build).unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error.kind, ErrorKind::NoInstallSection { .. })
                && text.contains("[DefaultInstall.NTamd64.10.0...25952]")
                && text.contains(&format!("...{build}")),
            "{text}"
        );
    }
}

#[test]
fn what_is_missing_is_named_with_its_place() {
    let text = stamped();
    let cases = [
        ("ServiceBinary", "Xervice", "expected `ServiceBinary = …`"),
        ("StartType ", "X ", "expected `StartType = …`"),
        ("= 3 ;", "= three ;", "not `three`"),
        (
            "ServiceType    = 2",
            "ServiceType    = 1",
            "ServiceType = 2",
        ),
        (",,Headroom.Service", ",,Nowhere", "[Nowhere"),
        ("AddReg ", "X ", "attach nothing"),
        ("\"Altitude\"", "\"Height\"", "has no `Altitude`"),
        ("378600.5", "top", "not `top`"),
        ("HKR,", "HKX,", "not `HKX`"),
        ("0x00010003", "0x00770003", "0x00770003"),
        ("0x6000", "lots", "not `lots`"),
        ("AddService =", "X =", "no AddService"),
    ];
    for (there, instead, expected) in cases {
        let inf = inf::parse(text.replace(there, instead).as_bytes()).unwrap();
        let error = minifilter(&inf, Amd64, 26_100).unwrap_err();
        assert!(
            error.to_string().contains(expected),
            "{there} > {instead}: {error}"
        );
        assert!(error.at.line > 1, "{error}");
    }
}

#[test]
fn values_of_every_type() {
    let lines = r#"
HKR,,none,0x00020001,1,ff
HKR,,binary,1,0x01,02
HKR,,expand,0x00020000,"%%SystemRoot%%\x"
HKR,,many,0x00010000,a,"b c",
HKR,,bytes,0x00010001,78,56,34,12
HKR,,negative,0x00010001,-1
HKR,,long,0x000B0001,01,00,00,00,02,00,00,00
HKR,,gone,4
HKR,"Only\key",,0x10
HKLM,elsewhere,x,0,y
"#;
    let text = stamped().replace(
        "[Headroom.Parameters]",
        &format!("[Headroom.Parameters]{lines}"),
    );
    let service = minifilter(&inf::parse(text.as_bytes()).unwrap(), Amd64, 26_100).unwrap();
    let find = |name: &str| {
        let found = service.values.iter().find(|value| value.name == name);
        found.map(|value| value.data.clone())
    };
    assert_eq!(find("none"), Some(Data::None(vec![1, 0xff])));
    assert_eq!(find("binary"), Some(Data::Binary(vec![1, 2])));
    assert_eq!(
        find("expand"),
        Some(Data::ExpandSz(r"%SystemRoot%\x".to_owned()))
    );
    assert_eq!(
        find("many"),
        Some(Data::MultiSz(vec!["a".to_owned(), "b c".to_owned()]))
    );
    assert_eq!(find("bytes"), Some(Data::Dword(0x1234_5678)));
    assert_eq!(find("negative"), Some(Data::Dword(u32::MAX)));
    assert_eq!(find("long"), Some(Data::Qword(0x2_0000_0001)));
    assert_eq!((find("gone"), find("x")), (None, None));
}

#[test]
fn a_template_is_stamped_or_says_why_not() {
    let date = Date::of_unix_time(951_782_400);
    assert_eq!(date.to_string(), "02/29/2000");
    assert_eq!(Date::of_unix_time(-1).to_string(), "12/31/1969");
    assert_eq!(Date::of_unix_time(1_764_547_200).to_string(), "12/01/2025");
    let text = inf::stamp(
        "[Version]\r\nDriverVer=\r\n[a.NT$ARCH$]\r\n",
        Amd64,
        date,
        "1.2",
    )
    .unwrap();
    assert_eq!(
        text,
        "[Version]\r\nDriverVer = 02/29/2000,1.2.0.0\r\n[a.NTamd64]\r\n"
    );
    for version in ["1.2.3.4.5", "1.65536", "1.x", "", "1.-2"] {
        let error = inf::stamp("DriverVer=", Amd64, date, version).unwrap_err();
        assert!(error.to_string().contains("w.x.y.z"), "{error}");
    }
    inf::stamp("[Version]", Amd64, date, "1.0").unwrap_err();
}
