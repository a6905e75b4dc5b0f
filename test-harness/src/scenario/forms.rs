//! Every spelling of a UNC path as `NtCreateFile` takes it, each with the status that it must have: the object manager's ways to
//! the UNC provider, a redirector named in the path, case, dots and spaces at the end, streams, characters that no name may have,
//! names that end too early or in a backslash. The driver has to see each of them as what it is, and change nothing about it.

use protocol::NtStatus;

use super::actor::{Actor, Expected};
use super::root::Root;
use super::{Scenario, files, status};
use crate::backend::{Environment, Purpose, Setup, Stopped, System};

const FOLDER: &str = "Folder";
const FILE: &str = "File.txt";
/// `ß` has no upper case that is one character, `ö` has.
const UMLAUTS: &str = "Größe.txt";
/// Made through the native calls: the Win32 layer would take its dot and its space off.
const DOT: &str = "dot.";
const SPACE: &str = "space ";

const WINE_NO_DEVICE: &str = "Wine knows UNC names below \\??\\UNC and \\DosDevices\\UNC alone";
const WINE_FOLDER: &str =
    "Wine looks UNC names up in a folder, where servers and shares are directories like any other";
const WINE_NO_STREAMS: &str = "Wine has no streams: a colon is a character of the name";

pub(super) struct Forms;

impl Scenario for Forms {
    fn prepare(&self, root: &Root, setup: &mut Setup) -> Result<(), Environment> {
        let folder = files::directory(root.folder(), FOLDER)?;
        files::file(&folder, FILE)?;
        files::file(&folder, UMLAUTS)?;
        root.share_in(setup);
        Ok(())
    }

    fn creates(&self) -> u32 {
        60
    }

    fn play(&self, actor: &mut Actor<'_>) -> Result<(), Stopped> {
        if actor.round == 0 && actor.index == 0 {
            for name in [DOT, SPACE] {
                let name = format!(r"{}\{FOLDER}\{name}", actor.root.name());
                let made = actor.open_for(Purpose::MakeFile, &name, 0, NtStatus::SUCCESS)?;
                actor.close(made)?;
            }
        }
        for (name, expected) in spellings(actor.root, actor.system) {
            actor.touch(&name, expected)?;
        }
        Ok(())
    }
}

/// What each spelling has to come to. Where Windows' answer is not known for sure, the spelling is tried in ntbench alone, whose
/// answer is a decision written down there.
fn spellings(root: &Root, system: System) -> Vec<(String, Expected)> {
    let mut forms = ways(root);
    forms.extend(ends(root));
    forms.extend(characters(root));
    forms.extend(files::absent_servers(root));
    if system == System::Ntbench {
        forms.extend(simulated(root));
    }
    forms
}

fn success() -> Expected {
    NtStatus::SUCCESS.into()
}

/// The ways that lead to the UNC provider, and case.
fn ways(root: &Root) -> Vec<(String, Expected)> {
    let unc = root.unc();
    let file = format!(r"{unc}\{FOLDER}\{FILE}");
    let below_device =
        || success().but(System::Wine, status::OBJECT_PATH_NOT_FOUND, WINE_NO_DEVICE);
    vec![
        (format!(r"\??\UNC\{file}"), success()),
        (format!(r"\??\unc\{}", file.to_uppercase()), success()),
        (format!(r"\??\Unc\{}", file.to_lowercase()), success()),
        (format!(r"\DosDevices\UNC\{file}"), success()),
        (format!(r"\GLOBAL??\UNC\{file}"), below_device()),
        (format!(r"\Device\Mup\{file}"), below_device()),
        (
            format!(r"\device\MUP\{}", file.to_uppercase()),
            below_device(),
        ),
        (
            format!(r"\Device\Mup\;LanmanRedirector\{file}"),
            below_device(),
        ),
        (format!(r"\??\UNC\;LanmanRedirector\{file}"), below_device()),
        (
            format!(r"UNC\{file}"),
            status::OBJECT_PATH_SYNTAX_BAD.into(),
        ),
        (
            format!(r"\??\UNCLE\{file}"),
            status::OBJECT_PATH_NOT_FOUND.into(),
        ),
    ]
}

/// How names may end: at the server, the share, in backslashes, dots and spaces.
fn ends(root: &Root) -> Vec<(String, Expected)> {
    let server = root.server();
    let share = root.name();
    let folder = format!(r"{share}\{FOLDER}");
    let invalid = || Expected::from(status::OBJECT_NAME_INVALID);
    let absent = || Expected::from(status::OBJECT_NAME_NOT_FOUND);
    vec![
        (
            format!(r"\??\UNC\{server}"),
            Expected::from(status::OBJECT_PATH_SYNTAX_BAD).but(
                System::Wine,
                NtStatus::SUCCESS,
                WINE_FOLDER,
            ),
        ),
        (share.clone(), success()),
        (format!(r"{share}\"), success()),
        (format!(r"{folder}\"), success()),
        (format!(r"{folder}\{FILE}\"), invalid()),
        (format!(r"{folder}\{DOT}"), success()),
        (format!(r"{folder}\dot"), absent()),
        (format!(r"{folder}\{FILE}."), absent()),
        (format!(r"{folder}\{FILE}..."), absent()),
        (format!(r"{folder}\{SPACE}"), success()),
        (format!(r"{folder}\space"), absent()),
        (format!(r"{folder}\{FILE} "), absent()),
        (
            format!(r"\??\UNC\{server}\IPC$"),
            success().but(System::Wine, status::OBJECT_NAME_NOT_FOUND, WINE_FOLDER),
        ),
    ]
}

/// Streams, letters beside ASCII, and characters that no name may have.
fn characters(root: &Root) -> Vec<(String, Expected)> {
    let folder = format!(r"{}\{FOLDER}", root.name());
    let mut forms = vec![
        (format!(r"{folder}\{UMLAUTS}"), success()),
        (format!(r"{folder}\GRÖßE.TXT"), success()),
        (
            format!(r"{folder}\GRÖSSE.TXT"),
            status::OBJECT_NAME_NOT_FOUND.into(),
        ),
        (
            format!(r"{folder}\{FILE}::$DATA"),
            success().but(System::Wine, status::OBJECT_NAME_NOT_FOUND, WINE_NO_STREAMS),
        ),
        (
            format!(r"{folder}\{FILE}:absent"),
            status::OBJECT_NAME_NOT_FOUND.into(),
        ),
    ];
    forms.extend(
        ["*", "?", "<", ">", "|", "\"", "\u{1}", "/"].map(|character| {
            (
                format!(r"{folder}\fi{character}le.txt"),
                Expected::from(status::OBJECT_NAME_INVALID),
            )
        }),
    );
    forms
}

/// What is tried in ntbench alone: a drive letter's way, which on Windows needs that drive to be mapped, and names whose refusal
/// Windows leaves to the redirector or the server.
fn simulated(root: &Root) -> Vec<(String, Expected)> {
    let unc = root.unc();
    let file = format!(r"{unc}\{FOLDER}\{FILE}");
    let name = root.name();
    let invalid = || Expected::from(status::OBJECT_NAME_INVALID);
    vec![
        (
            format!(r"\Device\Mup\;LanmanRedirector\;Z:0000000000012345\{file}"),
            success(),
        ),
        (
            format!(r"\Device\Mup\;Z:0000000000012345\{file}"),
            success(),
        ),
        (r"\??\UNC".to_owned(), success()),
        (r"\??\UNC\".to_owned(), success()),
        (format!(r"{name}\{FOLDER}\\{FILE}"), invalid()),
        (format!(r"\??\UNC\\{unc}\{FOLDER}\{FILE}"), invalid()),
        (format!(r"{name}\.\{FOLDER}\{FILE}"), invalid()),
        (format!(r"{name}\{FOLDER}\..\{FOLDER}\{FILE}"), invalid()),
        (
            format!(r"\??\UNC\{}\IPC$\absent", root.server()),
            status::OBJECT_NAME_NOT_FOUND.into(),
        ),
        (
            format!(r"\??\Z:\{FOLDER}\{FILE}"),
            status::OBJECT_PATH_NOT_FOUND.into(),
        ),
    ]
}
