//! What installing asks of a system. Windows is one; tests have another, each call of which can be made to fail.

use std::path::{Path, PathBuf};

/// A call's failure, with what to do about it.
pub(in crate::verbs) type Done<T> = Result<T, String>;

/// A store of the machine's certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::verbs) enum Store {
    /// Authorities.
    Root,
    /// Publishers.
    TrustedPublisher,
}

impl Store {
    /// Both.
    pub(in crate::verbs) const ALL: [Self; 2] = [Self::Root, Self::TrustedPublisher];

    /// Its name.
    pub(in crate::verbs) const fn name(self) -> &'static str {
        match self {
            Self::Root => "Root",
            Self::TrustedPublisher => "TrustedPublisher",
        }
    }
}

/// What a driver is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verbs) enum Signed {
    /// A certificate that leads to a trusted authority, and is no test certificate.
    ForAll,
    /// A test certificate: one that is signed by itself, trusted here or not.
    Test,
    /// Nothing.
    Not,
    /// What is no longer true of the file.
    Broken,
}

/// The service as it is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::verbs) struct Installed {
    /// The image's file.
    pub(in crate::verbs) image: PathBuf,
    /// The altitude of the default instance.
    pub(in crate::verbs) altitude: Option<String>,
}

/// Where the driver is installed.
pub(in crate::verbs) trait System {
    /// Windows' build.
    fn build(&self) -> Done<u32>;
    /// Whether this is an x64 Windows.
    fn is_x64(&self) -> bool;
    /// Whether this process may do all this.
    fn is_elevated(&self) -> Done<bool>;
    /// Whether there is a Filter Manager to load into.
    fn has_filter_manager(&self) -> bool;
    /// Whether test-signed drivers load.
    fn test_signing(&self) -> Done<bool>;
    /// What a driver is signed with.
    fn signed(&self, image: &Path) -> Done<Signed>;
    /// Whether packages have to be signed so that this machine trusts it, to be installed.
    fn demands_trust(&self) -> bool;

    /// Whether a store holds a certificate.
    fn trusts(&self, store: Store, certificate: &Path) -> Done<bool>;
    /// Puts it in.
    fn trust(&mut self, store: Store, certificate: &Path) -> Done<()>;
    /// Takes it out.
    fn distrust(&mut self, store: Store, certificate: &Path) -> Done<()>;

    /// Whether the driver is loaded.
    fn is_loaded(&self) -> Done<bool>;
    /// Loads it.
    fn load(&mut self) -> Done<()>;
    /// Unloads it.
    fn unload(&mut self) -> Done<()>;

    /// What is installed.
    fn installed(&self) -> Done<Option<Installed>>;
    /// Installs what an INF says; its section is named for systems that process sections. Whether a restart is wanted.
    fn install(&mut self, inf: &Path, section: &str) -> Done<bool>;
    /// Takes that back.
    fn uninstall(&mut self, inf: &Path, section: Option<&str>) -> Done<bool>;
    /// Deletes the service, however it was made.
    fn delete_service(&mut self) -> Done<()>;
    /// The driver's file that an installation without the driver store leaves.
    fn left_file(&self) -> Option<PathBuf>;
    /// Deletes a file.
    fn delete_file(&mut self, file: &Path) -> Done<()>;
    /// Whether two files hold the same.
    fn same(&self, one: &Path, other: &Path) -> Done<bool>;
}
