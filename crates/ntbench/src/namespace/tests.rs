use std::{fs, os::unix::fs::symlink, path::PathBuf};

use super::*;
use crate::{
    abi::file::*,
    wire::{DfsLink, DfsNamespace, Server, Share, Volume},
};

/// A folder that is gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("ntbench-namespace-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("share/Docs/Deep")).unwrap();
        fs::write(path.join("share/Docs/Readme.txt"), "text").unwrap();
        fs::write(path.join("outside"), "secret").unwrap();
        symlink("Docs/Deep", path.join("share/link")).unwrap();
        symlink("../outside", path.join("share/out")).unwrap();
        symlink("/etc/passwd", path.join("share/absolute")).unwrap();
        Self(path)
    }

    fn namespace(&self) -> Namespace {
        let share = |name: &str| Share {
            name: name.to_owned(),
            folder: self.0.join("share"),
        };
        Namespace::new(&NamespaceConfig {
            servers: vec![Server {
                name: "fs1".to_owned(),
                shares: vec![share("data"), share("C$")],
            }],
            dfs: vec![DfsNamespace {
                server: "corp".to_owned(),
                root: "dfs".to_owned(),
                links: vec![DfsLink {
                    path: "eng\\docs".to_owned(),
                    server: "fs1".to_owned(),
                    share: "data".to_owned(),
                    folder: "Docs".to_owned(),
                }],
            }],
            volumes: vec![Volume {
                device: "\\Device\\HarddiskVolume1".to_owned(),
                letter: Some('C'),
                folder: self.0.join("share"),
            }],
        })
        .unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const OPEN: Request = Request {
    access: FILE_READ_ATTRIBUTES,
    share: 7,
    disposition: FILE_OPEN,
    options: 0,
    attributes: FILE_ATTRIBUTE_NORMAL,
    case_sensitive: false,
    ignore_share_access: false,
    target_directory: false,
    transaction: 0,
};

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

fn create(namespace: &Namespace, name: &str, request: Request) -> Result<Outcome, NtStatus> {
    let (device, rest) = namespace.look_up(&wide(name))?;
    namespace.create(device, &rest, &request)
}

fn status(namespace: &Namespace, name: &str, request: Request) -> NtStatus {
    match create(namespace, name, request) {
        Ok(Outcome::Opened(..)) => NtStatus::SUCCESS,
        Ok(Outcome::Renamed(_) | Outcome::Reparse(..)) => NtStatus::REPARSE,
        Err(status) => status,
    }
}

#[test]
fn statuses_are_those_of_a_redirector() {
    let scratch = Scratch::new("statuses");
    let namespace = scratch.namespace();
    for (name, expected) in [
        ("\\??\\UNC\\fs1\\data\\Docs\\Readme.txt", NtStatus::SUCCESS),
        (
            "\\Device\\Mup\\FS1\\DATA\\docs\\README.TXT",
            NtStatus::SUCCESS,
        ),
        (
            "\\Device\\Mup\\;LanmanRedirector\\;Z:0000\\fs1\\data",
            NtStatus::SUCCESS,
        ),
        ("\\??\\UNC\\nobody\\data\\x", NtStatus::BAD_NETWORK_PATH),
        ("\\??\\UNC\\fs1\\nothing\\x", NtStatus::BAD_NETWORK_NAME),
        ("\\??\\UNC\\fs1", NtStatus::OBJECT_PATH_SYNTAX_BAD),
        ("\\??\\UNC\\fs1\\IPC$", NtStatus::SUCCESS),
        (
            "\\??\\UNC\\fs1\\data\\none",
            NtStatus::OBJECT_NAME_NOT_FOUND,
        ),
        (
            "\\??\\UNC\\fs1\\data\\none\\x",
            NtStatus::OBJECT_PATH_NOT_FOUND,
        ),
        (
            "\\??\\UNC\\fs1\\data\\Docs\\Readme.txt\\x",
            NtStatus::OBJECT_PATH_NOT_FOUND,
        ),
        (
            "\\??\\UNC\\fs1\\data\\Docs\\..\\x",
            NtStatus::OBJECT_NAME_INVALID,
        ),
        ("\\??\\C:\\Docs\\Readme.txt", NtStatus::SUCCESS),
        ("\\??\\c:", NtStatus::SUCCESS),
        ("\\Device\\HarddiskVolume1\\Docs", NtStatus::SUCCESS),
        (
            "\\Device\\HarddiskVolume12\\Docs",
            NtStatus::OBJECT_PATH_NOT_FOUND,
        ),
        ("\\??\\D:", NtStatus::OBJECT_NAME_NOT_FOUND),
        ("C:\\Docs", NtStatus::OBJECT_PATH_SYNTAX_BAD),
    ] {
        assert_eq!(status(&namespace, name, OPEN), expected, "{name}");
    }
}

#[test]
fn dispositions_are_carried_out() {
    let scratch = Scratch::new("dispositions");
    let namespace = scratch.namespace();
    let with = |disposition, options| Request {
        disposition,
        options,
        access: FILE_WRITE_DATA | DELETE,
        ..OPEN
    };
    let file = "\\??\\UNC\\fs1\\data\\Docs\\Readme.txt";
    let fresh = "\\??\\UNC\\fs1\\data\\fresh";
    assert_eq!(
        status(&namespace, file, with(FILE_CREATE, 0)),
        NtStatus::OBJECT_NAME_COLLISION
    );
    assert_eq!(
        status(&namespace, file, with(FILE_OPEN, FILE_DIRECTORY_FILE)),
        NtStatus::NOT_A_DIRECTORY
    );
    let folder = "\\??\\UNC\\fs1\\data\\Docs";
    assert_eq!(
        status(&namespace, folder, with(FILE_OPEN, FILE_NON_DIRECTORY_FILE)),
        NtStatus::FILE_IS_A_DIRECTORY
    );
    assert_eq!(
        status(&namespace, fresh, with(FILE_OVERWRITE, 0)),
        NtStatus::OBJECT_NAME_NOT_FOUND
    );
    let Ok(Outcome::Opened(opened, FILE_OVERWRITTEN)) =
        create(&namespace, file, with(FILE_OVERWRITE_IF, 0))
    else {
        panic!("overwrite failed");
    };
    assert_eq!(
        fs::metadata(scratch.0.join("share/Docs/Readme.txt"))
            .unwrap()
            .len(),
        0
    );
    drop(opened);
    let Ok(Outcome::Opened(opened, FILE_CREATED)) =
        create(&namespace, fresh, with(FILE_OPEN_IF, FILE_DELETE_ON_CLOSE))
    else {
        panic!("create failed");
    };
    assert!(scratch.0.join("share/fresh").exists());
    drop(opened);
    assert!(!scratch.0.join("share/fresh").exists());
    let made = create(
        &namespace,
        "\\??\\UNC\\fs1\\data\\new",
        with(FILE_CREATE, FILE_DIRECTORY_FILE),
    );
    assert!(matches!(made, Ok(Outcome::Opened(file, FILE_CREATED)) if file.is_directory()));
}

#[test]
fn links_lead_on_but_never_out() {
    let scratch = Scratch::new("links");
    let namespace = scratch.namespace();
    let Ok(Outcome::Renamed(name)) = create(&namespace, "\\??\\UNC\\fs1\\data\\link\\x", OPEN)
    else {
        panic!("no reparse");
    };
    assert_eq!(name, wide("\\Device\\Mup\\fs1\\data\\Docs\\Deep\\x"));
    let itself = Request {
        options: FILE_OPEN_REPARSE_POINT,
        ..OPEN
    };
    let Ok(Outcome::Opened(link, _)) = create(&namespace, "\\??\\UNC\\fs1\\data\\link", itself)
    else {
        panic!("the link itself cannot be opened");
    };
    assert_eq!(link.reparse_tag(), IO_REPARSE_TAG_SYMLINK);
    assert_ne!(link.attributes() & FILE_ATTRIBUTE_REPARSE_POINT, 0);
    for name in ["out", "absolute"] {
        let name = format!("\\??\\UNC\\fs1\\data\\{name}");
        assert_eq!(
            status(&namespace, &name, OPEN),
            status::IO_REPARSE_DATA_INVALID,
            "{name}"
        );
    }
}

#[test]
fn a_dfs_name_leads_to_its_target_after_one_referral() {
    let scratch = Scratch::new("dfs");
    let namespace = scratch.namespace();
    let name = wide("\\corp\\dfs\\eng\\docs\\Readme.txt");
    assert_eq!(
        namespace.mup.referral(&name),
        mup::Referral::Connect("corp".to_owned())
    );
    assert!(namespace.mup.connects(&wide("\\corp\\IPC$")));
    assert!(!namespace.mup.connects(&wide("\\corp\\IPC$")));
    assert_eq!(namespace.mup.referral(&name), mup::Referral::None);
    assert_eq!(
        namespace.mup.referral(&wide("\\corp\\dfs")),
        mup::Referral::Ask
    );
    assert_eq!(
        namespace.mup.referral(&wide("\\fs1\\data")),
        mup::Referral::None
    );
    for (name, expected) in [
        (
            "\\??\\UNC\\corp\\dfs\\eng\\docs\\readme.txt",
            NtStatus::SUCCESS,
        ),
        ("\\??\\UNC\\corp\\dfs\\eng\\docs", NtStatus::SUCCESS),
        ("\\??\\UNC\\corp\\dfs\\eng", NtStatus::SUCCESS),
        ("\\??\\UNC\\corp\\dfs", NtStatus::SUCCESS),
        (
            "\\??\\UNC\\corp\\dfs\\other",
            NtStatus::OBJECT_NAME_NOT_FOUND,
        ),
        (
            "\\??\\UNC\\corp\\dfs\\other\\x",
            NtStatus::OBJECT_PATH_NOT_FOUND,
        ),
        ("\\??\\UNC\\corp\\other", NtStatus::BAD_NETWORK_NAME),
    ] {
        assert_eq!(status(&namespace, name, OPEN), expected, "{name}");
    }
}

#[test]
fn a_sharing_violation_ends_with_the_close() {
    let scratch = Scratch::new("sharing");
    let namespace = scratch.namespace();
    let file = "\\??\\UNC\\fs1\\data\\Docs\\Readme.txt";
    let alone = Request {
        access: GENERIC_READ,
        share: 0,
        ..OPEN
    };
    let held = create(&namespace, file, alone).unwrap();
    assert_eq!(status(&namespace, file, alone), NtStatus::SHARING_VIOLATION);
    assert_eq!(status(&namespace, file, OPEN), NtStatus::SUCCESS);
    drop(held);
    assert_eq!(status(&namespace, file, alone), NtStatus::SUCCESS);
}

#[test]
fn a_share_without_its_folder_is_a_clear_error() {
    let config = NamespaceConfig {
        servers: vec![Server {
            name: "s".to_owned(),
            shares: vec![Share {
                name: "x".to_owned(),
                folder: "/nowhere/at/all".into(),
            }],
        }],
        ..NamespaceConfig::default()
    };
    let error = Namespace::new(&config).unwrap_err();
    assert!(
        error.contains("\\\\s\\x") && error.contains("/nowhere/at/all"),
        "{error}"
    );
}

#[test]
fn a_normalized_name_is_spelled_as_the_volume_spells_it() {
    let scratch = Scratch::new("canonical");
    let namespace = scratch.namespace();
    for (name, expected) in [
        (
            "\\Device\\Mup\\FS1\\Data\\docs\\readme.TXT",
            Ok("\\FS1\\Data\\Docs\\Readme.txt"),
        ),
        (
            "\\Device\\Mup\\fs1\\data\\docs\\fresh",
            Ok("\\fs1\\data\\Docs\\fresh"),
        ),
        (
            "\\Device\\Mup\\fs1\\data\\none\\fresh",
            Err(NtStatus::OBJECT_PATH_NOT_FOUND),
        ),
        (
            "\\Device\\Mup\\corp\\dfs\\ENG\\docs\\DEEP\\x",
            Ok("\\corp\\dfs\\ENG\\docs\\Deep\\x"),
        ),
        (
            "\\Device\\Mup\\corp\\dfs\\ENG\\docs",
            Ok("\\corp\\dfs\\ENG\\docs"),
        ),
        ("\\Device\\Mup\\nobody\\x", Err(NtStatus::BAD_NETWORK_PATH)),
        ("\\Device\\HarddiskVolume1\\docs\\", Ok("\\Docs\\")),
        ("\\Device\\HarddiskVolume1\\LINK\\deep", Ok("\\link\\deep")),
    ] {
        let (device, rest) = namespace.look_up(&wide(name)).unwrap();
        let spelled = namespace.canonical(device, &rest);
        assert_eq!(
            spelled.map(|units| String::from_utf16(&units).unwrap()),
            expected.map(str::to_owned),
            "{name}"
        );
    }
}
