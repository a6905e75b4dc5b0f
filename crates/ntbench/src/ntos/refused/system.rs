//! The object manager's directories, hives, drivers, transactions, devices' properties, and what changes processes and tokens.

use super::refusals;
use crate::status::NtStatus;

refusals! {
    "STATUS_NOT_SUPPORTED: an undocumented way to objects; open them by their own services":
    ObReferenceObjectByName(
        _name: usize, _attributes: u32, _state: usize, _access: u32, _kind: usize, _mode: i8, _context: usize, _out: usize
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ObCreateObject(
        _mode: i8, _kind: usize, _attributes: usize, _owner: i8, _context: usize, _size: u32, _paged: u32, _pool: u32,
        _out: usize
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ObInsertObject(
        _object: usize, _state: usize, _access: u32, _references: u32, _out: usize, _handle: usize
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "STATUS_NOT_SUPPORTED: drivers are loaded and unloaded from outside of the machine":
    ZwLoadDriver(_name: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwUnloadDriver(_name: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "STATUS_NOT_SUPPORTED: one key is watched at a time, by ZwNotifyChangeKey":
    ZwNotifyChangeMultipleKeys(
        _key: u64, _count: u32, _others: usize, _event: u64, _apc: usize, _context: usize, _status: usize, _filter: u32,
        _tree: u8, _buffer: usize, _length: u32, _asynchronous: u8
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "STATUS_NOT_SUPPORTED: processes, threads and tokens stay as they are made":
    ZwSetInformationProcess(_process: u64, _class: u32, _buffer: usize, _length: u32) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwSetInformationThread(_thread: u64, _class: u32, _buffer: usize, _length: u32) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwSetInformationToken(_token: u64, _class: u32, _buffer: usize, _length: u32) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwAdjustPrivilegesToken(
        _token: u64, _all: u8, _new: usize, _length: u32, _old: usize, _needed: usize
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;
    SeFilterToken(
        _token: usize, _flags: u32, _disable: usize, _privileges: usize, _restrict: usize, _out: usize
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;
    SeRegisterLogonSessionTerminatedRoutine(_routine: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    SeUnregisterLogonSessionTerminatedRoutine(_routine: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    SeMarkLogonSessionForTerminationNotification(_session: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "0: who waits looks at an event's state once he runs, and would miss the pulse":
    KePulseEvent(_event: usize, _increment: i32, _wait: u8) -> i32 = 0;

    "STATUS_NOT_SUPPORTED: the object manager's directories cannot be opened":
    ZwOpenDirectoryObject(_out: usize, _access: u32, _attributes: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwQueryDirectoryObject(
        _directory: u64, _buffer: usize, _length: u32, _single: u8, _restart: u8, _context: usize, _needed: usize
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwCreateDirectoryObject(_out: usize, _access: u32, _attributes: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwMakeTemporaryObject(_handle: u64) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwQueryObject(_handle: u64, _class: u32, _buffer: usize, _length: u32, _needed: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "STATUS_NOT_SUPPORTED: devices have no interfaces and no properties":
    IoGetDeviceProperty(_device: usize, _property: u32, _length: u32, _buffer: usize, _needed: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    IoGetDeviceInterfaces(_class: usize, _device: usize, _flags: u32, _list: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    IoRegisterDeviceInterface(_device: usize, _class: usize, _reference: usize, _link: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    IoSetDeviceInterfaceState(_link: usize, _enable: u8) -> NtStatus = NtStatus::NOT_SUPPORTED;
    IoInitializeTimer(_device: usize, _routine: usize, _context: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "NULL: a packet has no parts that go to several drivers":
    IoMakeAssociatedIrp(_irp: usize, _locations: i8) -> usize = 0;

    "STATUS_NOT_SUPPORTED: transactions are programs' own":
    ZwCreateTransaction(
        _out: usize, _access: u32, _attributes: usize, _unit: usize, _manager: u64, _options: u32, _level: u32, _flags: u32,
        _timeout: usize, _text: usize
    ) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwCommitTransaction(_transaction: u64, _wait: u8) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwRollbackTransaction(_transaction: u64, _wait: u8) -> NtStatus = NtStatus::NOT_SUPPORTED;

    "STATUS_NOT_SUPPORTED: there are no hives behind the registry":
    ZwLoadKey(_key: usize, _file: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwUnloadKey(_key: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwSaveKey(_key: u64, _file: u64) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwRestoreKey(_key: u64, _file: u64, _flags: u32) -> NtStatus = NtStatus::NOT_SUPPORTED;
    ZwReplaceKey(_new: usize, _key: u64, _old: usize) -> NtStatus = NtStatus::NOT_SUPPORTED;
}
