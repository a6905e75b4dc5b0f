//! The catalog, the hash, the archive and the signatures of small files made here.

use std::{fs, path::Path};

use der::{Decode as _, asn1::ObjectIdentifier};
use sha2::{Digest as _, Sha256};

use super::{
    archive,
    catalog::{self, Member, NameValue, TrustList},
    certificate, hash, sign,
};
use crate::run::{Tool, which};

/// Ten in the morning of 1 January 2026.
const TIME: i64 = 1_767_261_600;

fn members(directory: &Path) -> [Member; 2] {
    let (inf, exe) = (directory.join("x.inf"), directory.join("x.sys"));
    fs::write(&inf, "[Version]\r\n").unwrap();
    fs::write(&exe, image()).unwrap();
    [Member::file(&inf).unwrap(), Member::image(&exe).unwrap()]
}

/// The headers of a 64-bit image, and something after them.
fn image() -> Vec<u8> {
    let mut data = vec![0; 0x400];
    let mut put = |at: usize, bytes: &[u8]| data[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(0x3c, &[0x40]);
    put(0x40, b"PE\0\0\x64\x86");
    put(0x40 + 20, &[240]);
    put(0x40 + 24, &[0x0b, 0x02]);
    put(0x40 + 24 + 108, &[16]);
    put(0x300, b"code");
    data
}

/// The trust list in a catalog.
fn trust_list(catalog: &[u8]) -> TrustList {
    let message = cms::content_info::ContentInfo::from_der(catalog).unwrap();
    let data: cms::signed_data::SignedData = message.content.decode_as().unwrap();
    let kind = data.encap_content_info.econtent_type;
    assert_eq!(kind.to_string(), "1.3.6.1.4.1.311.10.1");
    TrustList::from_der(&catalog::content(catalog).unwrap()).unwrap()
}

#[test]
fn a_catalog_lists_each_file_by_both_hashes() {
    let directory = tempfile::tempdir().unwrap();
    let members = members(directory.path());
    let encoded = catalog::encode(&members, TIME).unwrap();
    assert_eq!(
        encoded,
        catalog::encode(&members, TIME).unwrap(),
        "nothing in it is left to chance"
    );
    let list = trust_list(&encoded);
    assert_eq!(list.members.len(), 4);
    let flat = Sha256::digest(b"[Version]\r\n");
    let inf = list
        .members
        .iter()
        .find(|entry| entry.hash.as_bytes() == &flat[..])
        .expect("the INF by its SHA-256 hash");
    let names = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.2.1");
    let texts: Vec<(String, Vec<u8>)> = inf
        .attributes
        .iter()
        .filter(|attribute| attribute.oid == names)
        .map(|attribute| {
            let value = attribute.values.get(0).unwrap();
            let value: NameValue = value.decode_as().unwrap();
            assert_eq!(value.flags, 0x1001_0001);
            (value.name.to_string(), value.value.into_bytes())
        })
        .collect();
    let wide = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16().chain([0]);
        units.flat_map(u16::to_le_bytes).collect()
    };
    assert_eq!(
        texts,
        [
            ("File".to_owned(), wide("x.inf")),
            ("OSAttr".to_owned(), wide("2:10.0"))
        ]
    );
    assert!(
        list.members
            .is_sorted_by_key(|entry| entry.hash.as_bytes().to_vec())
    );
    assert_eq!(
        list.this_update.to_unix_duration().as_secs(),
        TIME.cast_unsigned()
    );
}

#[test]
fn an_images_hash_leaves_out_what_a_signature_changes() {
    let plain = hash::image::<Sha256>(&image()).unwrap();
    let mut signed = image();
    // Checksum, and the entry of a certificate table that stands at the end.
    signed[0x40 + 88..0x40 + 92].copy_from_slice(&[1, 2, 3, 4]);
    let entry = 0x40 + 24 + 112 + 8 * 4;
    signed[entry..entry + 8].copy_from_slice(&[0, 4, 0, 0, 0x10, 0, 0, 0]);
    signed.extend([0x55; 16]);
    assert_eq!(hash::image::<Sha256>(&signed).unwrap(), plain);
    signed[0x300] ^= 1;
    assert_ne!(hash::image::<Sha256>(&signed).unwrap(), plain);
    hash::image::<Sha256>(&image()[..0x80]).unwrap_err();
    hash::image::<Sha256>(b"text").unwrap_err();
}

#[test]
fn an_archive_depends_on_names_and_contents_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut made = Vec::new();
    for (run, order) in [["b.txt", "a/c.txt"], ["a/c.txt", "b.txt"]]
        .into_iter()
        .enumerate()
    {
        let folder = directory.path().join(format!("f{run}"));
        fs::create_dir_all(folder.join("a")).unwrap();
        for name in order {
            fs::write(folder.join(name), name).unwrap();
        }
        let zip = directory.path().join(format!("{run}.zip"));
        archive::write(&folder, "top", &zip, TIME).unwrap();
        made.push(fs::read(zip).unwrap());
    }
    assert_eq!(made[0], made[1]);
    let zip = |run: u8| directory.path().join(format!("{run}.zip"));
    archive::same_but_for_signatures(&zip(0), &zip(1)).unwrap();
    fs::write(directory.path().join("f1/b.txt"), "other").unwrap();
    archive::write(&directory.path().join("f1"), "top", &zip(1), TIME).unwrap();
    let error = archive::same_but_for_signatures(&zip(0), &zip(1)).unwrap_err();
    assert!(error.to_string().contains("top/b.txt differs"), "{error}");
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&made[0])).unwrap();
    let names: Vec<_> = zip.file_names().map(str::to_owned).collect();
    assert_eq!(names, ["top/a/c.txt", "top/b.txt"]);
    let time = zip.by_index(0).unwrap().last_modified().unwrap();
    assert_eq!((time.year(), time.hour()), (2026, 10));
}

/// A signed catalog vouches for its members and for no altered one. Needs the tools that `cargo xtask package` installs.
#[test]
fn a_signed_catalog_vouches_for_its_files() {
    for tool in ["openssl", "osslsigncode"] {
        if which(tool).is_none() {
            println!("skipped: {tool} is not installed; `cargo xtask package` installs it");
            return;
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let certificate = certificate::ensure(&at("certificate")).unwrap();
    let again = certificate::ensure(&at("certificate")).unwrap();
    assert_eq!(
        fs::read(&certificate.der).unwrap(),
        fs::read(&again.der).unwrap(),
        "made once"
    );
    let members = members(directory.path());
    fs::write(at("unsigned.cat"), catalog::encode(&members, TIME).unwrap()).unwrap();
    sign::catalog(&at("unsigned.cat"), &at("signed.cat"), &certificate).unwrap();
    sign::verify_member(&at("signed.cat"), &at("x.sys"), &certificate).unwrap();
    let signed = fs::read(at("signed.cat")).unwrap();
    assert_eq!(
        trust_list(&signed),
        trust_list(&fs::read(at("unsigned.cat")).unwrap()),
        "signing leaves the list alone"
    );

    let mut altered = fs::read(at("x.sys")).unwrap();
    altered[0x300] ^= 1;
    fs::write(at("altered.sys"), altered).unwrap();
    sign::verify_member(&at("signed.cat"), &at("altered.sys"), &certificate).unwrap_err();
    let other = certificate::ensure(&at("other")).unwrap();
    sign::verify_member(&at("signed.cat"), &at("x.sys"), &other).unwrap_err();

    // openssl reads it, too (as PKCS #7: to CMS the content is of the wrong type): one signer, and our content.
    let text = Tool::new("print the catalog", "openssl")
        .args(["pkcs7", "-print", "-noout", "-inform", "DER", "-in"])
        .arg(at("signed.cat"))
        .output()
        .unwrap();
    assert_eq!(text.matches("issuer_and_serial").count(), 1, "{text}");
    assert!(text.contains("1.3.6.1.4.1.311.10.1"), "{text}");
}
