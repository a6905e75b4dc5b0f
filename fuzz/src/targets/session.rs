//! Machines with the driver in them, for the targets that are the driver itself.

use std::path::PathBuf;
use std::sync::OnceLock;

use headroom_harness::backend::bench::{INSTANCE, SERVICE};
use ntbench::wire::{
    CreateFile, DriverSpec, InstanceSpec, MachineConfig, NamespaceConfig, RegistryValue, Server,
    Share, StackKind, ThreadSpec,
};
use ntbench::{Machine, NtStatus, Port, Thread};
use protocol::port::{Hello, PORT_NAME};
use tempfile::TempDir;
use zerocopy::IntoBytes as _;

/// The driver's image, where one was named.
pub(crate) fn image() -> Option<PathBuf> {
    std::env::var_os("HEADROOM_SYS")
        .map(PathBuf::from)
        .filter(|path| path.is_file())
}

/// A machine with a share, whose folder lives as long.
pub(super) struct Session {
    machine: Machine,
    thread: Thread,
    path: String,
    _folder: TempDir,
}

/// Which program becomes a machine: this one, or the one that was built beside these tests, whose `main` is libtest's.
fn program() -> Option<PathBuf> {
    let running = std::env::current_exe().ok()?;
    let folder = running.parent()?;
    let beside = folder.parent()?.join("fuzz");
    (folder.ends_with("deps") && beside.is_file()).then_some(beside)
}

impl Session {
    pub(super) fn boot() -> Self {
        Self::boot_with(4, |_| ())
    }

    fn boot_with(levels: u32, change: impl FnOnce(&mut MachineConfig)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path: String = (1..=levels).map(|level| format!(r"\d{level:02}")).collect();
        let host = folder
            .path()
            .join(path.replace('\\', "/").trim_start_matches('/'));
        std::fs::create_dir_all(host).expect("folders");
        let share = Share {
            name: "share".to_owned(),
            folder: folder.path().to_owned(),
        };
        let mut config = MachineConfig {
            host: program(),
            trace_capacity: Some(64),
            namespace: NamespaceConfig {
                servers: vec![Server {
                    name: "server".to_owned(),
                    shares: vec![share],
                }],
                ..NamespaceConfig::default()
            },
            ..MachineConfig::default()
        };
        change(&mut config);
        let machine = Machine::boot(config).expect("a machine");
        let thread = machine
            .thread(ThreadSpec {
                process_image: "test.exe".to_owned(),
                process: 0,
                stack: StackKind::Ordinary,
            })
            .expect("a thread");
        Self {
            machine,
            thread,
            path: format!(r"\??\UNC\server\share{path}"),
            _folder: folder,
        }
    }

    /// Loads the driver.
    pub(super) fn load(&self, parameters: &[(String, RegistryValue)]) -> NtStatus {
        let (name, altitude) = INSTANCE;
        let spec = DriverSpec {
            image: image().expect("HEADROOM_SYS names the driver"),
            service: SERVICE.to_owned(),
            parameters: parameters.to_vec(),
            instances: vec![InstanceSpec {
                name: name.to_owned(),
                altitude: altitude.to_owned(),
                flags: 0,
            }],
            ..DriverSpec::default()
        };
        self.machine
            .load_driver(spec)
            .expect("the machine lives")
            .status
    }

    /// A client of the driver's.
    pub(super) fn connect(&self) -> Port {
        self.thread
            .connect_port(PORT_NAME, Hello::CURRENT.as_bytes())
            .expect("the machine lives")
            .expect("the port is open to an administrator")
    }

    /// Opens the deepest folder.
    pub(super) fn open(&self) -> NtStatus {
        let create = CreateFile {
            name: self.path.clone(),
            ..CreateFile::default()
        };
        let done = self.thread.create_file(&create).expect("the machine lives");
        if done.handle != 0 {
            self.thread.close(done.handle).expect("the machine lives");
        }
        done.status
    }

    pub(super) fn unload(&self) {
        let unloaded = self
            .machine
            .unload_driver(SERVICE)
            .expect("the machine lives");
        assert!(unloaded.is_success(), "unload: {unloaded}");
    }
}

/// The crash dump of a nest that overflowed its stack; made once.
pub(super) fn overflow() -> Option<Vec<u8>> {
    static DUMP: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    DUMP.get_or_init(|| {
        image()?;
        let folder = tempfile::tempdir().ok()?;
        let file = folder.path().join("overflow.dmp");
        let session = Session::boot_with(40, |config| config.crash_dump = Some(file.clone()));
        let text = |name: &str, value: &str| (name.to_owned(), RegistryValue::Sz(value.to_owned()));
        let number = |name: &str, value| (name.to_owned(), RegistryValue::Dword(value));
        let status = session.load(&[
            text("ExpandPolicy", "Never"),
            text("AncestorOpens", "Top"),
            number("LogCapacity", 16),
            number("MinimumStackBytes", 0),
        ]);
        assert!(status.is_success(), "{status}");
        let create = CreateFile {
            name: session.path.clone(),
            ..CreateFile::default()
        };
        let died = session.thread.create_file(&create);
        assert!(died.is_err(), "40 nested creates on 24 KB: {died:?}");
        std::fs::read(file).ok()
    })
    .clone()
}
