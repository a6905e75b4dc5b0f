//! The calls on a folder of this machine's; the same on Windows and under Wine.

use super::*;

const NOT_FOUND: NtStatus = NtStatus(0xc000_0034);

/// A folder of its own below the temporary one, as the object manager names it.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("winuser-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn name(&self, rest: &str) -> Wide {
        Wide::new(format!(r"\??\{}{rest}", self.0.display())).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn made() -> How {
    How {
        access: access::READ | access::WRITE | access::DELETE,
        disposition: disposition::CREATE,
        options: options::NON_DIRECTORY,
        ..How::existing()
    }
}

#[test]
fn files_are_made_read_written_listed_renamed_and_deleted() {
    let folder = Folder::new("files");
    let file = create(&folder.name(r"\one"), None, &made()).unwrap();
    assert_eq!(file.status, NtStatus::SUCCESS);
    assert_eq!(file.file.write(0, b"abc"), Ok(3));
    let mut back = [0; 8];
    assert_eq!(file.file.read(1, &mut back), Ok(2));
    assert_eq!(&back[..2], b"bc");

    let root = create(&folder.name(""), None, &How::folder()).unwrap().file;
    let seen = root.list(None).unwrap();
    let one = seen.iter().find(|entry| entry.name == "one").unwrap();
    assert_eq!(one.end_of_file, 3);

    file.file
        .rename(&folder.name(r"\two"), None, false)
        .unwrap();
    let (one, two) = (Wide::new("one").unwrap(), Wide::new("two").unwrap());
    assert_eq!(query_attributes(&one, Some(&root)), Err(NOT_FOUND));
    // Wine 8 looks at no root in NtQueryAttributesFile, only in NtCreateFile.
    let relative = query_attributes(&two, Some(&root)).map(|_| ());
    let expected = if crate::wine::version().is_some() {
        Err(NOT_FOUND)
    } else {
        Ok(())
    };
    assert_eq!(relative, expected);
    query_attributes(&folder.name(r"\two"), None).unwrap();
    let again = create(&two, Some(&root), &How::existing()).unwrap();
    again.file.close().unwrap();

    file.file.delete().unwrap();
    file.file.close().unwrap();
    let gone = query_attributes(&folder.name(r"\two"), None);
    assert_eq!(gone, Err(NOT_FOUND));
}

#[test]
fn a_long_folder_is_listed_whole() {
    let folder = Folder::new("list");
    for at in 0..200 {
        std::fs::write(folder.0.join(format!("a name of some length {at}")), "").unwrap();
    }
    let root = create(&folder.name(""), None, &How::folder()).unwrap().file;
    let names = root.list(None).unwrap();
    assert_eq!(
        names
            .iter()
            .filter(|entry| entry.name.starts_with("a name"))
            .count(),
        200
    );
}

#[test]
fn what_is_not_there_has_its_status() {
    let folder = Folder::new("missing");
    let missing = create(&folder.name(r"\no\such"), None, &How::existing());
    assert_eq!(missing.map(|_| ()), Err(NtStatus(0xc000_003a)));
}
