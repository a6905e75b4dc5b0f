//! The layouts and constants against other witnesses: Microsoft's metadata, and `fltKernel.h` where there is one.

extern crate std;

use core::mem::offset_of;
use std::{
    env, eprintln,
    fmt::Write as _,
    format, fs,
    path::{Path, PathBuf},
    process::Command,
    string::String,
    vec::Vec,
};

use windows_sys::{
    Wdk::{Storage::FileSystem::Minifilters as metadata, System::SystemServices},
    Win32::Storage::InstallableFileSystems as file_systems,
};

use crate::layout::{LAYOUTS, Layout, with_layouts};

/// What the metadata says, under the names of this crate.
mod theirs {
    pub(super) use windows_sys::Wdk::Storage::FileSystem::Minifilters::{
        FLT_CALLBACK_DATA_0, FLT_CONTEXT_REGISTRATION, FLT_FILE_NAME_INFORMATION,
        FLT_IO_PARAMETER_BLOCK, FLT_OPERATION_REGISTRATION, FLT_PARAMETERS,
        FLT_PARAMETERS_0 as FLT_PARAMETERS_CREATE, FLT_REGISTRATION, FLT_RELATED_OBJECTS,
    };
    pub(super) use windows_sys::Wdk::System::SystemServices::IO_DRIVER_CREATE_CONTEXT;
    use windows_sys::{Wdk::Foundation::PETHREAD, Win32::System::IO::IO_STATUS_BLOCK};

    /// The metadata puts `FilterContext` into an unnamed union; this has the union's one arm in its place, and the test
    /// `the_callback_data_stand_in_is_the_metadata` holds it against the original.
    #[repr(C)]
    #[expect(non_snake_case, reason = "the names are the header's")]
    pub(super) struct FLT_CALLBACK_DATA {
        pub(super) Flags: u32,
        pub(super) Thread: PETHREAD,
        pub(super) Iopb: *const FLT_IO_PARAMETER_BLOCK,
        pub(super) IoStatus: IO_STATUS_BLOCK,
        pub(super) TagData: *mut core::ffi::c_void,
        pub(super) FilterContext: FLT_CALLBACK_DATA_0,
        pub(super) RequestorMode: i8,
    }
}

/// Where the metadata is known to be wrong: it does not know POINTER_ALIGNMENT, and packs the `Create` arm to four bytes.
/// (type, what, its number)
const KNOWN_ERRORS: &[(&str, &str, usize)] = &[
    ("FLT_PARAMETERS_CREATE", "size", 36),
    ("FLT_PARAMETERS_CREATE", "align", 4),
    ("FLT_PARAMETERS_CREATE", "FileAttributes", 12),
    ("FLT_PARAMETERS_CREATE", "ShareAccess", 14),
    ("FLT_PARAMETERS_CREATE", "EaLength", 16),
    ("FLT_PARAMETERS_CREATE", "EaBuffer", 20),
    ("FLT_PARAMETERS_CREATE", "AllocationSize", 28),
];

/// The metadata's numbers for every entry of the table.
fn metadata_says() -> Vec<(&'static str, &'static str, usize)> {
    let mut said = Vec::new();
    macro_rules! ask {
        ($($name:ident = $c_type:literal $c_path:literal, $size:literal, $align:literal {
            $($field:ident: $offset:literal,)*
        })*) => {$(
            said.push((stringify!($name), "size", size_of::<theirs::$name>()));
            said.push((stringify!($name), "align", align_of::<theirs::$name>()));
            $(said.push((stringify!($name), stringify!($field), offset_of!(theirs::$name, $field)));)*
        )*};
    }
    with_layouts!(ask);
    said
}

fn table_says(layout: &Layout) -> impl Iterator<Item = (&'static str, &'static str, usize)> {
    [("size", layout.size), ("align", layout.align)]
        .into_iter()
        .chain(layout.fields.iter().copied())
        .map({
            let name = layout.name;
            move |(what, number)| (name, what, number)
        })
}

#[test]
fn layouts_agree_with_the_metadata_but_for_its_known_errors() {
    let ours: Vec<_> = LAYOUTS.iter().flat_map(table_says).collect();
    let theirs = metadata_says();
    assert_eq!(ours.len(), theirs.len());
    let disagreements: Vec<_> = ours
        .iter()
        .zip(&theirs)
        .filter(|(ours, theirs)| ours != theirs)
        .map(|(_, theirs)| *theirs)
        .collect();
    // Equality, not inclusion: an error that the metadata no longer has is to be struck off the list.
    assert_eq!(disagreements, KNOWN_ERRORS);
}

#[test]
fn the_callback_data_stand_in_is_the_metadata() {
    use metadata::FLT_CALLBACK_DATA as Original;
    assert_eq!(
        size_of::<theirs::FLT_CALLBACK_DATA>(),
        size_of::<Original>()
    );
    assert_eq!(
        offset_of!(theirs::FLT_CALLBACK_DATA, FilterContext),
        offset_of!(Original, Anonymous)
    );
    assert_eq!(
        offset_of!(theirs::FLT_CALLBACK_DATA, IoStatus),
        offset_of!(Original, IoStatus)
    );
    assert_eq!(
        offset_of!(theirs::FLT_CALLBACK_DATA, TagData),
        offset_of!(Original, TagData)
    );
    assert_eq!(
        offset_of!(theirs::FLT_CALLBACK_DATA, RequestorMode),
        offset_of!(Original, RequestorMode)
    );
}

#[test]
fn constants_agree_with_the_metadata() {
    assert_eq!(
        crate::FLT_PREOP_SUCCESS_WITH_CALLBACK,
        metadata::FLT_PREOP_SUCCESS_WITH_CALLBACK
    );
    assert_eq!(
        crate::FLT_PREOP_SUCCESS_NO_CALLBACK,
        metadata::FLT_PREOP_SUCCESS_NO_CALLBACK
    );
    assert_eq!(crate::FLT_PREOP_COMPLETE, metadata::FLT_PREOP_COMPLETE);
    assert_eq!(
        crate::FLT_POSTOP_FINISHED_PROCESSING,
        metadata::FLT_POSTOP_FINISHED_PROCESSING
    );
    assert_eq!(
        u32::from(crate::FLT_REGISTRATION_VERSION_0203),
        metadata::FLT_REGISTRATION_VERSION_0203
    );
    assert_eq!(
        crate::FLTFL_POST_OPERATION_DRAINING,
        metadata::FLTFL_POST_OPERATION_DRAINING
    );
    assert_eq!(
        crate::FLTFL_FILTER_UNLOAD_MANDATORY,
        metadata::FLTFL_FILTER_UNLOAD_MANDATORY
    );
    assert_eq!(
        crate::FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT,
        metadata::FLTFL_INSTANCE_SETUP_MANUAL_ATTACHMENT
    );
    assert_eq!(crate::FLT_PREOP_PENDING, metadata::FLT_PREOP_PENDING);
    assert_eq!(
        u32::from(crate::FLT_INSTANCE_CONTEXT),
        metadata::FLT_INSTANCE_CONTEXT
    );
    assert_eq!(
        u32::from(crate::FLT_STREAMHANDLE_CONTEXT),
        metadata::FLT_STREAMHANDLE_CONTEXT
    );
    assert_eq!(u32::from(crate::FLT_CONTEXT_END), metadata::FLT_CONTEXT_END);
    assert_eq!(
        crate::FLT_SET_CONTEXT_KEEP_IF_EXISTS,
        metadata::FLT_SET_CONTEXT_KEEP_IF_EXISTS
    );
    assert_eq!(
        crate::FLTFL_CALLBACK_DATA_IRP_OPERATION,
        metadata::FLTFL_CALLBACK_DATA_IRP_OPERATION
    );
    assert_eq!(crate::FLT_FILE_NAME_OPENED, metadata::FLT_FILE_NAME_OPENED);
    assert_eq!(
        crate::FLT_FILE_NAME_QUERY_DEFAULT,
        metadata::FLT_FILE_NAME_QUERY_DEFAULT
    );
    assert_eq!(crate::FLT_FSTYPE_LANMAN, file_systems::FLT_FSTYPE_LANMAN);
    assert_eq!(crate::FLT_FSTYPE_WEBDAV, file_systems::FLT_FSTYPE_WEBDAV);
    assert_eq!(crate::FLT_FSTYPE_RDPDR, file_systems::FLT_FSTYPE_RDPDR);
    assert_eq!(crate::FLT_FSTYPE_NFS, file_systems::FLT_FSTYPE_NFS);
    assert_eq!(crate::FLT_FSTYPE_MUP, file_systems::FLT_FSTYPE_MUP);
    assert_eq!(
        crate::STATUS_FLT_DO_NOT_ATTACH,
        windows_sys::Win32::Foundation::STATUS_FLT_DO_NOT_ATTACH
    );
}

/// The table as C that compiles only where the header agrees.
fn as_static_asserts() -> String {
    let mut c = String::from("#include <fltKernel.h>\n#include <stddef.h>\n");
    for Layout {
        c_type,
        c_path,
        size,
        align,
        fields,
        ..
    } in LAYOUTS
    {
        if c_path.is_empty() {
            let _ = writeln!(
                c,
                "_Static_assert(sizeof({c_type}) == {size}, \"size of {c_type}\");"
            );
            let _ = writeln!(
                c,
                "_Static_assert(_Alignof({c_type}) == {align}, \"alignment of {c_type}\");"
            );
        } else {
            let member = c_path.trim_end_matches('.');
            let _ = writeln!(
                c,
                "_Static_assert(sizeof((({c_type}*)0)->{member}) == {size}, \"size of {c_type}.{member}\");"
            );
        }
        for (field, offset) in *fields {
            let _ = writeln!(
                c,
                "_Static_assert(offsetof({c_type}, {c_path}{field}) == {offset}, \"{c_type}.{c_path}{field}\");"
            );
        }
    }
    c
}

/// The kernel-mode include directory of an installed WDK that has `fltKernel.h`.
fn wdk_include() -> Result<PathBuf, String> {
    let root =
        env::var_os("WDKContentRoot").ok_or("WDKContentRoot is not set: no WDK to compare with")?;
    let include = Path::new(&root).join("Include");
    let mut versions: Vec<_> = fs::read_dir(&include)
        .map_err(|error| format!("{}: {error}", include.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|version| version.join("km/fltKernel.h").exists())
        .collect();
    versions.sort();
    versions.pop().ok_or_else(|| {
        format!(
            "{} holds no km/fltKernel.h (it is not a whole WDK)",
            include.display()
        )
    })
}

/// A C compiler that knows Microsoft's layouts. Wherever there is a WDK to build with, bindgen needs LLVM as well.
fn clang() -> String {
    let named = env::var("CLANG").ok();
    let usual = [
        "clang", "clang-22", "clang-21", "clang-20", "clang-19", "clang-18", "clang-17",
    ]
    .map(String::from);
    let runs = |name: &String| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    named
        .into_iter()
        .chain(usual)
        .find(runs)
        .expect("a WDK is installed but no clang was found to read it: install LLVM, or name its clang in CLANG")
}

#[test]
fn layouts_agree_with_the_wdk_where_there_is_one() {
    let include = match wdk_include() {
        Ok(include) => include,
        Err(reason) => {
            eprintln!("SKIPPED: {reason}");
            return;
        }
    };
    let source = env::temp_dir().join(format!("fltmgr-sys-layouts-{}.c", std::process::id()));
    fs::write(&source, as_static_asserts()).expect("the temporary directory is writable");
    let output = Command::new(clang())
        .args([
            "--target=x86_64-pc-windows-msvc",
            "-fsyntax-only",
            "-fms-extensions",
            "-w",
            "-D_AMD64_",
            "-D_WIN64",
        ])
        .args(["-DNTDDI_VERSION=0x0A00000B", "-D_WIN32_WINNT=0x0A00"])
        .args(["km", "km/crt", "shared"].map(|part| format!("-I{}", include.join(part).display())))
        .arg(&source)
        .output()
        .expect("clang runs");
    let _ = fs::remove_file(&source);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_c_form_of_the_table_names_the_nested_arm() {
    let c = as_static_asserts();
    assert!(
        c.contains("offsetof(FLT_PARAMETERS, Create.FileAttributes) == 16"),
        "{c}"
    );
    assert!(
        c.contains("sizeof(((FLT_PARAMETERS*)0)->Create) == 48"),
        "{c}"
    );
}

// A silent change of the metadata's IO_DRIVER_CREATE_CONTEXT would be noticed by the table; this states which one is
// meant: the one with SiloContext.
const _: () = assert!(size_of::<SystemServices::IO_DRIVER_CREATE_CONTEXT>() == 40);
