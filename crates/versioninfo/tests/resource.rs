//! What is written is read back, and what is damaged is refused.

use versioninfo::{Kind, Product, ReadError, STRINGS, VersionInfo};

fn ours() -> VersionInfo {
    let product = Product {
        name: "Headroom",
        company: "Z\u{fc}rich & \u{4e2d}",
        description: "a driver",
        copyright: "",
    };
    VersionInfo::new(Kind::Driver, "x.sys", "1.2.3-rc.1", &product)
}

#[test]
fn what_is_written_is_read_back() {
    let info = ours();
    assert_eq!(VersionInfo::parse(&info.to_resource()), Ok(info.clone()));
    assert_eq!(info.version, [1, 2, 3, 0]);
    assert_eq!(info.string("FileVersion"), Some("1.2.3.0"));
    assert_eq!(info.string("ProductVersion"), Some("1.2.3-rc.1"));
    assert_eq!(info.string("OriginalFilename"), Some("x.sys"));
    assert!(STRINGS.iter().all(|name| info.string(name).is_some()));
}

#[test]
fn a_resource_file_is_an_empty_resource_and_this_one() {
    let (info, resource) = (ours(), ours().to_resource());
    let file = info.to_resource_file();
    assert_eq!(file.len() % 4, 0);
    assert_eq!(file[..8], [0, 0, 0, 0, 32, 0, 0, 0]);
    let length = u32::try_from(resource.len()).unwrap().to_le_bytes();
    assert_eq!(file[32..36], length);
    assert_eq!(file[40..48], [0xff, 0xff, 16, 0, 0xff, 0xff, 1, 0]);
    assert_eq!(file[64..64 + resource.len()], resource);
}

#[test]
fn every_truncation_and_every_damaged_byte_is_survived() {
    let whole = ours().to_resource();
    for length in 0..whole.len() {
        assert_eq!(
            VersionInfo::parse(&whole[..length]),
            Err(ReadError::Truncated),
            "{length}"
        );
    }
    for at in 0..whole.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = VersionInfo::parse(&damaged);
        }
    }
    let mut damaged = whole;
    damaged[40] ^= 1;
    assert_eq!(VersionInfo::parse(&damaged), Err(ReadError::NoFixedPart));
}
