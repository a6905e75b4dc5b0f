//! What ran where, and the words that a reader may not know.

use super::Origin;
use crate::scenario::Plan;
use crate::table::grouped;

/// What ran where.
pub(super) fn facts(origin: &Origin, plan: Option<&Plan>) -> Vec<(String, String)> {
    let mut facts: Vec<(&str, String)> = Vec::new();
    if let Some(plan) = plan {
        facts.push((
            "Scenario",
            format!("{}, depth {}", plan.scenario.name(), plan.depth),
        ));
        let bytes = origin
            .driver_bytes
            .map_or_else(String::new, |bytes| format!(", {} bytes", grouped(bytes)));
        // The path is the machine's business that made the report; the name says which driver.
        let name = plan.driver.file_name().map_or_else(
            || plan.driver.display().to_string(),
            |name| name.to_string_lossy().into_owned(),
        );
        facts.push(("Driver", format!("{name}{bytes}")));
        let stack = if plan.large_stack {
            "large: 72 KB, of which 24 KB are committed at first"
        } else {
            "ordinary: 24 KB"
        };
        facts.push(("Opener's kernel stack", stack.to_owned()));
        let reservation = plan.reservation_bytes.map_or_else(
            || "the driver's default".to_owned(),
            |bytes| format!("{bytes:#x} bytes"),
        );
        facts.push(("Each expansion asks for", reservation));
    }
    facts.push(("Machine", origin.machine.clone()));
    if !origin.headroom.is_empty() {
        let program = format!("headroom {} on {}", origin.headroom, origin.host);
        facts.push(("Program", program));
    }
    facts.push(("Taken at", origin.taken_at.clone()));
    facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The words that a reader may not know.
pub(super) const GLOSSARY: &[(&str, &str)] = &[
    (
        "before, inside, after",
        "Stack left when a create arrived at the driver; where its inspection started, perhaps on another segment; and back on the caller's segment after it.",
    ),
    (
        "bug check",
        "Windows stops the whole machine. 0x7F with 8, a double fault, is what a kernel stack that ran out looks like.",
    ),
    (
        "create",
        "An open of a file, folder, pipe or share: each arrives at every file-system filter as IRP_MJ_CREATE, on the opener's thread and stack.",
    ),
    (
        "depth, nested",
        "Creates under way on one thread at a time: opening a file can make a filter or a redirector open another inside it.",
    ),
    (
        "direct, grown, switched",
        "What an expansion did: it ran on the stack as it was; on the same segment, grown in place; or on another segment.",
    ),
    (
        "ExpandPolicy",
        "When the driver asks for stack: Always; in the RedZone only, when little is left; Never, to show the problem.",
    ),
    (
        "expansion",
        "KeExpandKernelStackAndCalloutEx: the system call by which a driver asks for so many bytes of stack and has a function called on them.",
    ),
    (
        "headroom",
        "The least kernel stack that a create had left at any sample. At 0 the machine dies.",
    ),
    (
        "inspection",
        "The driver's deep work on a create: it queries the name and opens the path's ancestors.",
    ),
    (
        "refused",
        "The expansion failed; the create passes on uninspected, waits for a worker or is denied, as OnExpandFailure has it.",
    ),
    (
        "reservation",
        "Bytes that an expansion asks for; 0x6000 (24 KB) unless set otherwise, a whole ordinary kernel stack.",
    ),
    (
        "segment",
        "A piece of kernel stack: 24 KB for an ordinary thread, 72 KB reserved for an expansion. A thread's stack can run over several.",
    ),
];
