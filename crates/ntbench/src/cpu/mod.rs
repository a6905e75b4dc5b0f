//! What the processor does: GS, CR8, faults.
