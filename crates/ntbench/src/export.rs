//! What drivers can import: functions with the Windows ABI, and data, by DLL and name.
//!
//! A module declares its share with [`exports!`]; `tables` is the one place that gathers them.

use std::collections::HashMap;
use std::sync::LazyLock;

/// The arguments of a variadic function, as they lie in the caller's home area and beyond it.
///
/// The stub spills the four register arguments into their home slots before the call, so that they and the stack
/// arguments are one array: what a `va_list` is on x64.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct VaList(pub(crate) *const u64);

impl VaList {
    /// The next argument's slot; integers and pointers alike, `double`s by their bits.
    ///
    /// # Safety
    /// The caller of the variadic function passed that many arguments, or the slot is at least readable stack.
    pub(crate) unsafe fn take(&mut self) -> u64 {
        // SAFETY: the caller's promise.
        let value = unsafe { self.0.read_unaligned() };
        self.0 = self.0.wrapping_add(1);
        value
    }
}

/// One name that a driver can import.
pub(crate) struct Export {
    /// The DLL, lower case, with extension: `ntoskrnl.exe` (which is the HAL too), `fltmgr.sys`.
    pub(crate) dll: &'static str,
    /// The name.
    pub(crate) name: &'static str,
    /// What it is.
    pub(crate) kind: ExportKind,
    /// How much of what is documented it does.
    pub(crate) coverage: Coverage,
}

/// How much of what is documented an export does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coverage {
    /// All of it, as far as its documents say.
    Whole,
    /// Not all; how it differs.
    Partial(&'static str),
    /// Nothing: it says so and fails; what a driver gets.
    Refused(&'static str),
}

/// What an export is.
pub(crate) enum ExportKind {
    /// An `extern "win64"` function of that many arguments, called on the host's stack.
    Function {
        /// Its address.
        address: *const (),
        /// How many argument slots it takes.
        arguments: usize,
        /// Whether it returns an `NTSTATUS`, and so can say that it failed.
        status: bool,
    },
    /// An `extern "win64"` function of one argument, [`VaList`], called on the host's stack.
    Variadic {
        /// Its address.
        address: *const (),
    },
    /// Code bound as it is and run on the driver's stack: for what has a calling convention of its own.
    Raw {
        /// Its address.
        address: *const (),
    },
    /// A variable; gives its address.
    Data(fn() -> usize),
    /// Code that is made for each image, with the address of its security cookie.
    Cookie(fn(usize) -> [u8; crate::gate::STUB_BYTES]),
}

impl Export {
    /// Whether it is a function that returns an `NTSTATUS`.
    pub(crate) fn returns_status(&self) -> bool {
        matches!(self.kind, ExportKind::Function { status: true, .. })
    }

    /// Whether it is a function.
    pub(crate) fn is_code(&self) -> bool {
        !matches!(self.kind, ExportKind::Data(_))
    }
}

/// Whether a type, as a declaration spells it, is an `NTSTATUS`.
pub(crate) const fn is_status(written: &str) -> bool {
    matches!(written.as_bytes(), b"NtStatus")
}

// SAFETY: the pointers are addresses of functions, which live for ever and are never written.
unsafe impl Sync for Export {}

/// Declares a module's exports; makes `fn exports() -> &'static [Export]` beside the functions themselves.
///
/// ```ignore
/// exports! { "ntoskrnl.exe";
///     /// Why it is as it is.
///     fn IoGetStackLimits(low: *mut usize, high: *mut usize) { … }
///     variadic fn DbgPrint(arguments: VaList) -> i32 { … }
///     raw fn __chkstk = crate::gate::chkstk;
///     data IoFileObjectType = || address_of_the_variable();
///     /// What it does.
///     partial "what it leaves out"
///     fn KeSetTargetProcessorDpc(dpc: usize, number: u8) { … }
///     refused "what a driver gets instead"
///     fn IofCallDriver(device: usize, irp: usize) -> NtStatus { … }
/// }
/// ```
///
/// What is not marked is whole; `ntbench coverage` lists it all.
macro_rules! exports {
    ($dll:literal; $($body:tt)*) => {
        exports! { @munch $dll [] (Whole) $($body)* }
    };
    (@munch $dll:literal [$($table:tt)*] $coverage:tt) => {
        /// What this module lets drivers import.
        pub(crate) fn exports() -> &'static [$crate::export::Export] {
            static TABLE: &[$crate::export::Export] = &[$($table)*];
            TABLE
        }
    };
    (@munch $dll:literal [$($table:tt)*] $coverage:tt
        $(#[$meta:meta])* partial $how:literal $($rest:tt)*) => {
        exports! { @munch $dll [$($table)*] (Partial($how)) $(#[$meta])* $($rest)* }
    };
    (@munch $dll:literal [$($table:tt)*] $coverage:tt
        $(#[$meta:meta])* refused $how:literal $($rest:tt)*) => {
        exports! { @munch $dll [$($table)*] (Refused($how)) $(#[$meta])* $($rest)* }
    };
    (@munch $dll:literal [$($table:tt)*] ($($coverage:tt)*)
        $(#[$meta:meta])*
        fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block $($rest:tt)*) => {
        $(#[$meta])*
        #[allow(non_snake_case, reason = "the name is Windows's")]
        #[allow(clippy::too_many_arguments, reason = "the signature is Windows's")]
        pub(crate) extern "win64" fn $name($($arg: $ty),*) $(-> $ret)? $body
        exports! { @munch $dll [$($table)*
            $crate::export::Export {
                dll: $dll,
                name: stringify!($name),
                coverage: $crate::export::Coverage::$($coverage)*,
                kind: $crate::export::ExportKind::Function {
                    address: $name as *const (),
                    arguments: 0 $(+ { let _ = stringify!($arg); 1 })*,
                    status: $crate::export::is_status(concat!("" $(, stringify!($ret))?)),
                },
            },
        ] (Whole) $($rest)* }
    };
    (@munch $dll:literal [$($table:tt)*] ($($coverage:tt)*)
        $(#[$meta:meta])*
        variadic fn $name:ident($arg:ident: $ty:ty) $(-> $ret:ty)? $body:block $($rest:tt)*) => {
        $(#[$meta])*
        #[allow(non_snake_case, reason = "the name is Windows's")]
        pub(crate) extern "win64" fn $name($arg: $ty) $(-> $ret)? $body
        exports! { @munch $dll [$($table)*
            $crate::export::Export {
                dll: $dll,
                name: stringify!($name),
                coverage: $crate::export::Coverage::$($coverage)*,
                kind: $crate::export::ExportKind::Variadic { address: $name as *const () },
            },
        ] (Whole) $($rest)* }
    };
    (@munch $dll:literal [$($table:tt)*] ($($coverage:tt)*)
        $(#[$meta:meta])*
        raw fn $name:ident = $path:path; $($rest:tt)*) => {
        exports! { @munch $dll [$($table)*
            $crate::export::Export {
                dll: $dll,
                name: stringify!($name),
                coverage: $crate::export::Coverage::$($coverage)*,
                kind: $crate::export::ExportKind::Raw { address: $path as *const () },
            },
        ] (Whole) $($rest)* }
    };
    (@munch $dll:literal [$($table:tt)*] ($($coverage:tt)*)
        $(#[$meta:meta])*
        cookie fn $name:ident = $path:path; $($rest:tt)*) => {
        exports! { @munch $dll [$($table)*
            $crate::export::Export {
                dll: $dll,
                name: stringify!($name),
                coverage: $crate::export::Coverage::$($coverage)*,
                kind: $crate::export::ExportKind::Cookie($path),
            },
        ] (Whole) $($rest)* }
    };
    (@munch $dll:literal [$($table:tt)*] ($($coverage:tt)*)
        $(#[$meta:meta])*
        data $name:ident = $address:expr; $($rest:tt)*) => {
        exports! { @munch $dll [$($table)*
            $crate::export::Export {
                dll: $dll,
                name: stringify!($name),
                coverage: $crate::export::Coverage::$($coverage)*,
                kind: $crate::export::ExportKind::Data($address),
            },
        ] (Whole) $($rest)* }
    };
}

/// Every module's exports.
pub(crate) fn all() -> impl Iterator<Item = &'static Export> {
    let own: [&'static [Export]; 5] = [
        crate::gate::exports(),
        crate::user::exports(),
        crate::stack::exports(),
        crate::bugcheck::exports(),
        crate::bugcheck::callbacks::exports(),
    ];
    own.into_iter()
        .chain(crate::seh::tables())
        .chain(crate::ntos::tables())
        .chain(crate::fltmgr::tables())
        .chain(crate::cng::tables())
        .flatten()
}

/// Finds an export by DLL (in any case) and exact name. hal.dll is the kernel's: since Windows 10 2004 it only forwards
/// there. ksecdd.sys is where Windows Vista had cng.sys's functions, and has them still.
pub(crate) fn find(dll: &str, name: &str) -> Option<&'static Export> {
    static INDEX: LazyLock<HashMap<&'static str, Vec<&'static Export>>> = LazyLock::new(|| {
        let mut index: HashMap<&'static str, Vec<&'static Export>> = HashMap::new();
        for export in all() {
            index.entry(export.name).or_default().push(export);
        }
        index
    });
    let dll = match dll.to_ascii_lowercase().as_str() {
        "hal.dll" => "ntoskrnl.exe",
        "ksecdd.sys" => "cng.sys",
        _ => dll,
    };
    INDEX
        .get(name)?
        .iter()
        .copied()
        .find(|export| export.dll.eq_ignore_ascii_case(dll))
}
