//! Reports on a terminal.

use ntbench::Import;
use ntbench::wire::{
    BugCheckReport, CallbackEvent, DumpOutcome, FrameKind, StackListing, TraceEvent,
};

/// A dead machine's report.
pub(super) fn bug_check(report: &BugCheckReport) {
    println!(
        "\n*** BUG CHECK {:#X} {}\n    {}\n",
        report.code, report.name, report.text
    );
    for (number, (value, meaning)) in report.parameters.iter().zip(&report.meaning).enumerate() {
        println!("    parameter {}   {value:#018x}   {meaning}", number + 1);
    }
    println!(
        "    thread        {:#x} of {} ({:#x}), IRQL {}",
        report.tid, report.process_image, report.pid, report.irql
    );
    stack(&report.stack);
    match &report.dump {
        Some(DumpOutcome::Written { path, bytes }) => {
            println!("\n    crash dump    {}, {bytes} bytes", path.display());
        }
        Some(DumpOutcome::Failed { path, why }) => {
            eprintln!(
                "ntbench: the crash dump {} was not written: {why}",
                path.display()
            );
        }
        None => {}
    }
}

/// A stack listing, as a debugger's `k` has it.
pub(super) fn stack(listing: &StackListing) {
    println!("\n    Child-SP              bytes  call site");
    let mut segment = 0;
    for frame in &listing.frames {
        if frame.segment != segment {
            segment = frame.segment;
            println!("    --- the segment before");
        }
        let bytes = frame
            .bytes_to_older
            .map_or_else(String::new, |bytes| format!("{bytes:#x}"));
        let kind = if frame.kind == FrameKind::Modelled {
            ""
        } else {
            " *"
        };
        let source = frame
            .source
            .as_ref()
            .map_or_else(String::new, |source| format!(" [{source}]"));
        println!(
            "    {:#018x} {bytes:>8}  {}{kind}{source}",
            frame.child_sp, frame.symbol
        );
    }
    println!("\n    * the driver's own code; the others are modelled. Bytes by module:");
    for (module, bytes) in &listing.by_module {
        println!("    {bytes:#8x}  {module}");
    }
    for segment in &listing.segments {
        println!(
            "    segment {:#x} to {:#x} ({:#x} bytes)",
            segment.low,
            segment.high,
            segment.high - segment.low
        );
    }
}

/// What happened.
pub(super) fn events(events: &[TraceEvent]) {
    for event in events {
        match event {
            TraceEvent::Callback(event) => callback(event),
            TraceEvent::DbgPrint { tid, text } => println!("{tid:>5} dbg  {text}"),
            TraceEvent::Snapshot(listing) => stack(listing),
            TraceEvent::Etw(event) => println!(
                "{:>5} etw  {} {} level {} keyword {:#x}  {} bytes",
                event.tid,
                event.provider_name.as_deref().unwrap_or(&event.provider),
                event.name.as_deref().unwrap_or("-"),
                event.level,
                event.keyword,
                event.payload.len()
            ),
            TraceEvent::Switch { tid, at, to } => {
                let at = if at.is_empty() { "a callback" } else { at };
                println!("{tid:>5} ---- {at}: thread {to} runs");
            }
            // Told once, at the end.
            TraceEvent::Finding(_) => {}
        }
    }
}

fn callback(event: &CallbackEvent) {
    // A callback that is for no operation has its own name in that place.
    let (phase, operation) = if event.operation.is_empty() {
        ("", &event.phase)
    } else {
        (&*event.phase, &event.operation)
    };
    let line = format!(
        "{:>5} {phase:<4} {operation:<24} nest {:>3}  left {:>#7x}  {}",
        event.tid, event.nest, event.remaining, event.path
    );
    println!("{}", line.trim_end());
}

/// Imports, by DLL.
pub(super) fn imports(imports: &[Import]) {
    let width = imports
        .iter()
        .map(|import| import.dll.len() + import.name.len() + 1)
        .max()
        .unwrap_or(0);
    for import in imports {
        let known = if import.known { "bound" } else { "MISSING" };
        println!(
            "{:<width$}  {known}",
            format!("{}!{}", import.dll, import.name)
        );
    }
    let missing = imports.iter().filter(|import| !import.known).count();
    println!("\n{} imports, {missing} missing", imports.len());
}
