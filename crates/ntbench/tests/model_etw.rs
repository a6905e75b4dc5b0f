//! A provider of events.

mod model;

use model::{Bench, compile, lines, rules};
use ntbench::NtStatus;
use ntbench::wire::{
    EtwEvent, EtwSession, FaultRule, MachineConfig, Refusal, Trace, TraceEvent, When,
};

const PROVIDER: &str = "11223344-5566-7788-99aa-bbccddeeff00";

fn listened_to() -> Bench {
    Bench::with(MachineConfig {
        etw: vec![EtwSession {
            provider: PROVIDER.to_uppercase(),
            level: 3,
            any: 8,
            all: 0,
        }],
        ..MachineConfig::default()
    })
}

fn events(trace: &Trace) -> Vec<&EtwEvent> {
    let events = trace.events.iter().filter_map(|event| match event {
        TraceEvent::Etw(event) => Some(&**event),
        _ => None,
    });
    events.collect()
}

#[test]
fn a_provider_is_enabled_and_what_it_writes_is_kept_as_it_is() {
    let bench = listened_to();
    assert_eq!(bench.load(compile("tracer", &[])), NtStatus::SUCCESS);
    let trace = bench.trace();
    assert_eq!(
        lines(&trace),
        [
            "enable code=1 level=3 any=8 all=0 context=0000000000000077",
            "register 00000000",
            "traits 00000000",
            "enabled 1001",
            "write 00000000 00000000 00000000",
            "plain 00000000",
            "wrong c0000008 c000000d 80000005",
        ]
    );
    let events = events(&trace);
    assert_eq!(events.len(), 2, "the level and the keyword decide");
    let event = events[0];
    assert_eq!(event.provider, PROVIDER);
    assert_eq!(event.provider_name.as_deref(), Some("Tracers"));
    assert_eq!(event.name.as_deref(), Some("Measured"));
    assert_eq!(event.activity.as_deref(), Some(PROVIDER));
    assert_eq!(
        (
            event.id,
            event.version,
            event.channel,
            event.level,
            event.opcode,
            event.task,
            event.keyword
        ),
        (7, 1, 11, 2, 2, 3, 8)
    );
    assert_eq!(event.payload, [0x44, 0x33, 0x22, 0x11, b'z', 0]);
    assert_eq!(events[1].name, None);
    assert_eq!(
        bench.machine.unload_driver("tracer").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(
        lines(&bench.trace()),
        ["unregister 00000000", "then c0000008 c0000008"]
    );
    assert!(bench.end().findings.is_empty());
}

#[test]
fn nobody_listens_unless_asked() {
    let bench = Bench::new();
    assert_eq!(bench.load(compile("tracer", &[])), NtStatus::SUCCESS);
    let trace = bench.trace();
    assert_eq!(
        lines(&trace)[..3],
        ["register 00000000", "traits 00000000", "enabled 0000"]
    );
    assert!(events(&trace).is_empty());
}

#[test]
fn a_registration_can_fail_and_one_that_is_left_is_found() {
    let bench = listened_to();
    bench
        .machine
        .set_faults(vec![FaultRule {
            call: "EtwRegister".to_owned(),
            status: NtStatus::NO_MEMORY,
            when: When::Nth(1),
        }])
        .unwrap();
    let image = compile("tracer", &["LEAK=1"]);
    assert_eq!(bench.load(image.clone()), NtStatus::NO_MEMORY);
    assert_eq!(bench.load(image), NtStatus::SUCCESS);
    assert_eq!(
        bench.machine.unload_driver("tracer").unwrap(),
        NtStatus::SUCCESS
    );
    assert_eq!(rules(&bench.end()), ["etw-provider-leak"]);
}

#[test]
fn a_provider_that_is_no_guid_is_refused() {
    let session = EtwSession {
        provider: "My.Provider".to_owned(),
        ..EtwSession::default()
    };
    let config = MachineConfig {
        host: Some(env!("CARGO_BIN_EXE_ntbench").into()),
        etw: vec![session],
        ..MachineConfig::default()
    };
    match ntbench::Machine::boot(config).err() {
        Some(ntbench::MachineError::Refused(Refusal::Config(text))) => {
            assert!(text.contains("GUID"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}
