//! Bug checks: the end of a machine, with a report.

/// Ends the machine with a bug check.
pub(crate) fn raise(code: u32, parameters: [u64; 4], text: impl Into<String>) -> ! {
    let _ = (code, parameters, text.into());
    std::process::exit(1)
}

exports! { "ntoskrnl.exe";
    /// The driver's own bug check.
    fn KeBugCheckEx(code: u32, p1: u64, p2: u64, p3: u64, p4: u64) {
        raise(code, [p1, p2, p3, p4], "the driver called KeBugCheckEx")
    }

    /// As [`KeBugCheckEx`], without parameters.
    fn KeBugCheck(code: u32) {
        raise(code, [0; 4], "the driver called KeBugCheck")
    }
}
