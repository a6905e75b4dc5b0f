//! Machines as they are met, and what is thought of each.

use super::super::Outcome;
use super::super::facts::Integrity;
use super::*;

/// A machine for tests on which everything is as docs/test-vm.md leaves it.
fn healthy() -> Facts {
    let signer = Signer {
        subject: "Headroom test".to_owned(),
        thumbprint: "00AA".to_owned(),
        self_signed: true,
        in_time: true,
        missing_from: Ok(Vec::new()),
    };
    let trust = Trust::Trusted;
    Facts {
        wine: None,
        version: Ok((10, 0, 26100)),
        processor: "x64".to_owned(),
        elevated: Ok(true),
        integrity: Ok(Integrity {
            test_signing: true,
            debug_mode: false,
            hvci: true,
        }),
        secure_boot: Ok(Some(false)),
        crash_dump: Ok(Some(7)),
        service: Ok(Some(Service {
            image_path: r"\SystemRoot\System32\drivers\headroom.sys".to_owned(),
            service_type: 2,
            start_type: 3,
            running: true,
        })),
        image: Some(Image {
            path: r"C:\Windows\System32\drivers\headroom.sys".to_owned(),
            signature: Some(Ok(Signature {
                trust,
                signer: Some(signer),
            })),
        }),
        instances: Ok(Some(Instances {
            key: r"Parameters\Instances",
            default: Some("Headroom Instance".to_owned()),
            altitude: Some("378600.5".to_owned()),
        })),
        volumes: Ok(Some(vec![r"\Device\Mup".to_owned(), "C:".to_owned()])),
        port: Ok(Told {
            driver: Some(concat!(env!("CARGO_PKG_VERSION"), ".0").to_owned()),
            protocol: Some("1.1".to_owned()),
            clients: Some(1),
        }),
        server: Ok(true),
        share: Some((r"\\files\tools".to_owned(), Ok(()))),
    }
}

/// The checks that are not ok, each with its outcome.
fn amiss(facts: &Facts) -> Vec<(&'static str, Outcome)> {
    let page = judge(facts);
    let checks = page.groups.iter().flat_map(|group| &group.checks);
    let amiss = checks.filter(|check| check.outcome != Outcome::Ok);
    for check in amiss.clone() {
        let mend = check.mend.as_deref().unwrap_or_default();
        let needs_one = check.outcome != Outcome::NotChecked;
        assert_eq!(needs_one, !mend.is_empty(), "{check:?}");
    }
    amiss.map(|check| (check.name, check.outcome)).collect()
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = healthy();
    change(&mut facts);
    facts
}

fn signed(change: impl FnOnce(&mut Signature)) -> Facts {
    with(|facts| {
        let image = facts.image.as_mut().unwrap();
        change(image.signature.as_mut().unwrap().as_mut().unwrap());
    })
}

#[test]
fn nothing_is_amiss_on_a_machine_as_the_walkthrough_leaves_it() {
    assert_eq!(amiss(&healthy()), []);
    assert!(!judge(&healthy()).has_failed());
}

#[test]
fn each_thing_that_can_be_wrong_is_named_and_nothing_else() {
    use Outcome::{Failed, NotChecked, Warning};
    let off = Integrity {
        test_signing: false,
        debug_mode: false,
        hvci: false,
    };
    let service = |change: fn(&mut Service)| {
        with(|facts| change(facts.service.as_mut().unwrap().as_mut().unwrap()))
    };
    let instance = |altitude: Option<&str>| {
        with(|facts| {
            let instances = facts.instances.as_mut().unwrap().as_mut().unwrap();
            instances.altitude = altitude.map(str::to_owned);
        })
    };
    let cases = [
        (
            with(|f| f.processor = "arm64".to_owned()),
            vec![("processor", Failed)],
        ),
        (
            with(|f| f.version = Ok((10, 0, 17763))),
            vec![("version", Failed)],
        ),
        (
            with(|f| f.version = Ok((6, 3, 99999))),
            vec![("version", Failed)],
        ),
        (
            with(|f| f.elevated = Ok(false)),
            vec![("administrator", Failed)],
        ),
        (
            with(|f| f.integrity = Ok(off)),
            vec![("test signing", Failed)],
        ),
        (
            with(|f| f.crash_dump = Ok(Some(0))),
            vec![("crash dumps", Warning)],
        ),
        (
            with(|f| f.crash_dump = Ok(Some(3))),
            vec![("crash dumps", Warning)],
        ),
        (service(|s| s.service_type = 1), vec![("service", Failed)]),
        (service(|s| s.start_type = 4), vec![("service", Failed)]),
        (
            with(|f| f.image.as_mut().unwrap().signature = None),
            vec![("driver file", Failed)],
        ),
        (
            signed(|s| {
                *s = Signature {
                    trust: Trust::Unsigned,
                    signer: None,
                }
            }),
            vec![("signature", Failed)],
        ),
        (
            signed(|s| s.trust = Trust::Changed),
            vec![("signature", Failed)],
        ),
        (
            signed(|s| s.trust = Trust::Other("TRUST_E_SUBJECT_NOT_TRUSTED".to_owned())),
            vec![("signature", Warning)],
        ),
        (
            signed(|s| s.signer.as_mut().unwrap().in_time = false),
            vec![("certificate", Failed)],
        ),
        (
            signed(|s| {
                s.trust = Trust::Untrusted;
                s.signer.as_mut().unwrap().missing_from = Ok(vec!["Root"]);
            }),
            vec![("certificate", Warning)],
        ),
        (
            with(|f| f.instances = Ok(None)),
            vec![("instances", Failed)],
        ),
        (instance(None), vec![("instances", Failed)]),
        (instance(Some("45000")), vec![("instances", Failed)]),
        (instance(Some("high")), vec![("instances", Failed)]),
        (
            with(|f| f.volumes = Ok(Some(Vec::new()))),
            vec![("attached to", Failed)],
        ),
        (
            with(|f| f.volumes = Ok(Some(vec!["C:".to_owned()]))),
            vec![("attached to", Warning)],
        ),
        (
            with(|f| f.port = Err("busy".to_owned())),
            vec![("port", Failed)],
        ),
        (
            with(|f| f.port.as_mut().unwrap().driver = Some("0.0.1".to_owned())),
            vec![("port", Warning)],
        ),
        (
            with(|f| f.port.as_mut().unwrap().driver = None),
            vec![("port", Warning)],
        ),
        (
            with(|f| f.server = Ok(false)),
            vec![("Server service", Warning)],
        ),
        (
            with(|f| f.share.as_mut().unwrap().1 = Err("STATUS_BAD_NETWORK_NAME".to_owned())),
            vec![("share", Failed)],
        ),
        (with(|f| f.share = None), vec![("share", NotChecked)]),
    ];
    for (facts, expected) in cases {
        assert_eq!(amiss(&facts), expected, "{facts:#?}");
    }
}

#[test]
fn with_nothing_installed_one_failure_says_so_and_what_follows_from_it_is_not_checked() {
    let facts = with(|facts| {
        facts.service = Ok(None);
        facts.image = None;
        facts.instances = Ok(None);
        facts.volumes = Ok(None);
        facts.port = Err("not loaded".to_owned());
    });
    let expected = [
        ("service", Outcome::Failed),
        ("driver file", Outcome::NotChecked),
        ("loaded", Outcome::NotChecked),
        ("port", Outcome::NotChecked),
    ];
    assert_eq!(amiss(&facts), expected);
}

#[test]
fn a_driver_that_is_signed_with_more_than_a_test_certificate_needs_no_test_signing() {
    let mut facts = signed(|signature| signature.signer.as_mut().unwrap().self_signed = false);
    facts.integrity.as_mut().unwrap().test_signing = false;
    assert_eq!(amiss(&facts), []);
}

#[test]
fn with_secure_boot_on_it_comes_first() {
    let mut facts = with(|facts| facts.secure_boot = Ok(Some(true)));
    facts.integrity.as_mut().unwrap().test_signing = false;
    let page = judge(&facts);
    let mut checks = page.groups.iter().flat_map(|group| &group.checks);
    let check = checks.find(|check| check.name == "test signing").unwrap();
    let mend = check.mend.as_deref().unwrap();
    assert!(mend.starts_with("turn Secure Boot off"), "{mend}");
}

#[test]
fn what_could_not_be_learned_is_not_called_good() {
    let facts = with(|facts| {
        facts.version = Err("no".to_owned());
        facts.elevated = Err("no".to_owned());
        facts.integrity = Err("no".to_owned());
        facts.secure_boot = Err("no".to_owned());
        facts.crash_dump = Err("no".to_owned());
        facts.service = Err("no".to_owned());
        facts.instances = Err("no".to_owned());
        facts.volumes = Err("no".to_owned());
        facts.port = Err("no".to_owned());
        facts.server = Err("no".to_owned());
        facts.image.as_mut().unwrap().signature = Some(Err("no".to_owned()));
    });
    let amiss = amiss(&facts);
    assert_eq!(amiss.len(), 12, "{amiss:?}");
    let unknown = |(_, outcome): &(_, Outcome)| *outcome == Outcome::NotChecked;
    assert!(amiss.iter().all(unknown), "{amiss:?}");
}
