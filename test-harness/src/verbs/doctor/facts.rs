//! What is to be known about a Windows machine, before anything is thought of it.

/// Something that was asked for: what it is, or why it could not be learned.
pub(super) type Known<T> = Result<T, String>;

/// A Windows machine as it was found.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Wine's version, if that is what it is.
    pub(super) wine: Option<String>,
    /// Major, minor, build.
    pub(super) version: Known<(u32, u32, u32)>,
    /// The system's processor: `x64`, or another name.
    pub(super) processor: String,
    /// Whether the process is elevated.
    pub(super) elevated: Known<bool>,
    /// How the kernel checks code.
    pub(super) integrity: Known<Integrity>,
    /// Whether Secure Boot is on; `None`: the machine has none.
    pub(super) secure_boot: Known<Option<bool>>,
    /// `CrashDumpEnabled`: which dump a bug check leaves, 0 none.
    pub(super) crash_dump: Known<Option<u32>>,
    /// The driver's service.
    pub(super) service: Known<Option<Service>>,
    /// The driver's file, where one was named or is installed.
    pub(super) image: Option<Image>,
    /// The instances that the service's key has.
    pub(super) instances: Known<Option<Instances>>,
    /// The volumes that the driver is attached to; `None`: it is not loaded.
    pub(super) volumes: Known<Option<Vec<String>>>,
    /// What the driver says over its port.
    pub(super) port: Known<Told>,
    /// Whether the Server service runs, which shares of this machine need.
    pub(super) server: Known<bool>,
    /// The share that was named, and what opening it gave: an NTSTATUS with its name.
    pub(super) share: Option<(String, Known<()>)>,
}

/// How the kernel checks code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Integrity {
    /// Test-signed drivers load.
    pub(super) test_signing: bool,
    /// A kernel debugger is on.
    pub(super) debug_mode: bool,
    /// The hypervisor protects kernel code.
    pub(super) hvci: bool,
}

/// The driver's service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    /// Its image, as the service control manager has it.
    pub(super) image_path: String,
    /// 2: a file system driver.
    pub(super) service_type: u32,
    /// 3: on demand.
    pub(super) start_type: u32,
    /// Whether it runs.
    pub(super) running: bool,
}

/// The driver's file.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// Where it is, or should be.
    pub(super) path: String,
    /// Its signature; `None`: there is no such file.
    pub(super) signature: Option<Known<Signature>>,
}

/// A signature.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    /// What this machine thinks of it.
    pub(super) trust: Trust,
    /// Whose it is.
    pub(super) signer: Option<Signer>,
}

/// What this machine thinks of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// It leads to a trusted authority.
    Trusted,
    /// There is none.
    Unsigned,
    /// It leads to no trusted authority.
    Untrusted,
    /// The file has changed since.
    Changed,
    /// Another reason.
    Other(String),
}

/// Who signed.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    /// Whose certificate it is.
    pub(super) subject: String,
    /// The certificate's SHA-1 thumbprint.
    pub(super) thumbprint: String,
    /// The certificate is signed by itself, as a test certificate is.
    pub(super) self_signed: bool,
    /// Now lies in its time.
    pub(super) in_time: bool,
    /// Which of the machine's two stores that a test certificate has to be in lack it.
    pub(super) missing_from: Known<Vec<&'static str>>,
}

/// The instances in the service's key.
#[derive(Clone, Debug)]
pub(super) struct Instances {
    /// The key, below the service's.
    pub(super) key: &'static str,
    /// `DefaultInstance`.
    pub(super) default: Option<String>,
    /// The default instance's `Altitude`.
    pub(super) altitude: Option<String>,
}

/// What the driver says of itself.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The driver's version; `None`: it is too old to say.
    pub(super) driver: Option<String>,
    /// The protocol that it speaks.
    pub(super) protocol: Option<String>,
    /// How many are connected, this program included.
    pub(super) clients: Option<u32>,
}
