//! Audits, of which there are none: no policy asks for any, and nothing is written.

use super::sid::paged;
use crate::ntos::memory::Guest;

exports! { "ntoskrnl.exe";
    /// Whether opens of files are audited.
    partial "FALSE always: nothing is audited"
    fn SeAuditingFileEvents(_granted: u8, _descriptor: usize) -> u8 {
        0
    }

    /// Whether opens of files, or of everything, are audited.
    partial "FALSE always: nothing is audited"
    fn SeAuditingFileOrGlobalEvents(_granted: u8, _descriptor: usize, _subject: usize) -> u8 {
        0
    }

    /// Whether hard links are audited.
    partial "FALSE always: nothing is audited"
    fn SeAuditingHardLinkEvents(_granted: u8, _descriptor: usize) -> u8 {
        0
    }

    /// Audits a hard link.
    partial "nothing: nothing is audited"
    fn SeAuditHardLinkCreation(_file: usize, _link: usize, _success: u8) {
        paged("SeAuditHardLinkCreation");
    }

    /// Audits an open.
    partial "nothing is audited, GenerateOnClose FALSE"
    fn SeOpenObjectAuditAlarm(
        _kind: usize, _object: usize, _name: usize, _descriptor: usize, _state: usize, _created: u8, _granted: u8, _mode: i8,
        on_close: Guest<u8>,
    ) {
        paged("SeOpenObjectAuditAlarm");
        on_close.write(0);
    }

    /// Audits an open for deleting.
    partial "nothing is audited, GenerateOnClose FALSE"
    fn SeOpenObjectForDeleteAuditAlarm(
        _kind: usize, _object: usize, _name: usize, _descriptor: usize, _state: usize, _created: u8, _granted: u8, _mode: i8,
        on_close: Guest<u8>,
    ) {
        paged("SeOpenObjectForDeleteAuditAlarm");
        on_close.write(0);
    }

    /// Audits a deletion.
    partial "nothing: nothing is audited"
    fn SeDeleteObjectAuditAlarm(_object: usize, _handle: u64) {
        paged("SeDeleteObjectAuditAlarm");
    }

    /// Audits a close.
    partial "nothing: nothing is audited"
    fn SeCloseObjectAuditAlarm(_object: usize, _handle: u64, _generate: u8) {
        paged("SeCloseObjectAuditAlarm");
    }
}
