//! A driver package's catalog: the list of its files' hashes, which is what Windows verifies before it installs one.
//!
//! A catalog is a PKCS #7 message whose content is a certificate trust list. Microsoft documents its pieces (szOID_CATALOG_LIST and its
//! neighbours in mscat.h, SpcIndirectDataContent in the Authenticode paper) and not how they go together; that is known from catalogs that
//! inf2cat made. Each file is listed twice: by its SHA-1 hash, which old verifiers look up, and by its SHA-256 hash, where the hash is said once
//! more in the form that signatures use. Here the message is made unsigned; osslsigncode signs it as it signs images.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow};
use cms::{content_info::CmsVersion, signed_data::EncapsulatedContentInfo};
use der::{
    Any, Decode as _, Encode as _, Sequence, Tag, TagNumber,
    asn1::{BmpString, ObjectIdentifier, OctetString, SetOfVec, UtcTime},
};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use x509_cert::{attr::Attribute, spki::AlgorithmIdentifierOwned};

use super::hash;

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
/// szOID_CTL
const TRUST_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.10.1");
/// szOID_CATALOG_LIST
const CATALOG_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.1.1");
/// szOID_CATALOG_LIST_MEMBER2: members by more than one kind of hash.
const MEMBERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.1.3");
/// CAT_NAMEVALUE_OBJID
const NAME_VALUE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.2.1");
/// CAT_MEMBERINFO2_OBJID
const MEMBER_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.2.3");
/// SPC_INDIRECT_DATA_OBJID
const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
/// SPC_PE_IMAGE_DATA_OBJID
const PE_IMAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.15");
/// SPC_CAB_DATA_OBJID, which stands for every file that is no image.
const OTHER_FILE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.25");

/// CRYPTCAT_ATTR_AUTHENTICATED, CRYPTCAT_ATTR_NAMEASCII and CRYPTCAT_ATTR_DATAASCII.
const ATTRIBUTE_FLAGS: u32 = 0x1001_0001;
/// Windows 10 and later, as a member says it and as the catalog does for x64.
const MEMBER_OS: &str = "2:10.0";
const CATALOG_OS: &str = "_v100_X64";

/// A file of the package.
pub(super) struct Member {
    name: String,
    image: bool,
    sha1: Vec<u8>,
    sha256: Vec<u8>,
}

impl Member {
    /// An image.
    pub(super) fn image(path: &Path) -> Result<Self> {
        let data = read(path)?;
        let context = || format!("{} is no image that can be signed", path.display());
        Ok(Self {
            name: name(path)?,
            image: true,
            sha1: hash::image::<Sha1>(&data).with_context(context)?,
            sha256: hash::image::<Sha256>(&data).with_context(context)?,
        })
    }

    /// Any other file.
    pub(super) fn file(path: &Path) -> Result<Self> {
        let data = read(path)?;
        Ok(Self {
            name: name(path)?,
            image: false,
            sha1: hash::file::<Sha1>(&data),
            sha256: hash::file::<Sha256>(&data),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    Ok(name.context("a member has no name")?.to_owned())
}

/// A certificate trust list as catalogs use it.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct TrustList {
    pub(super) usage: Vec<ObjectIdentifier>,
    pub(super) identifier: OctetString,
    pub(super) this_update: UtcTime,
    pub(super) algorithm: AlgorithmIdentifierOwned,
    pub(super) members: Vec<Entry>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    pub(super) extensions: Vec<Extension>,
}

/// A member under one of its hashes.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct Entry {
    pub(super) hash: OctetString,
    pub(super) attributes: SetOfVec<Attribute>,
}

/// Something that is said of the whole catalog.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct Extension {
    pub(super) oid: ObjectIdentifier,
    pub(super) value: OctetString,
}

/// A named text: the name in UTF-16BE, the value in UTF-16LE with its null.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
pub(super) struct NameValue {
    pub(super) name: BmpString,
    pub(super) flags: u32,
    pub(super) value: OctetString,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct IndirectData {
    data: TypeAndValue,
    digest: DigestInfo,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct TypeAndValue {
    oid: ObjectIdentifier,
    value: Any,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct DigestInfo {
    algorithm: AlgorithmIdentifierOwned,
    digest: OctetString,
}

/// A PKCS #7 message that nobody has signed yet.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct Unsigned {
    version: CmsVersion,
    digest_algorithms: SetOfVec<AlgorithmIdentifierOwned>,
    content: EncapsulatedContentInfo,
    signers: SetOfVec<Any>,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct ContentInfo {
    oid: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: Any,
}

/// The catalog of these files, unsigned, in DER.
pub(super) fn encode(members: &[Member], time: i64) -> Result<Vec<u8>> {
    let list =
        list(members, time).map_err(|error| anyhow!("the catalog cannot be made: {error}"))?;
    wrap(&list).map_err(|error| anyhow!("the catalog cannot be written: {error}"))
}

/// The list in a catalog, signed or not, in DER.
pub(super) fn content(catalog: &[u8]) -> Result<Vec<u8>> {
    let content = || -> der::Result<Option<Any>> {
        let info = cms::content_info::ContentInfo::from_der(catalog)?;
        let data: cms::signed_data::SignedData = info.content.decode_as()?;
        Ok(data.encap_content_info.econtent)
    };
    let list = content().map_err(|error| anyhow!("the catalog cannot be read: {error}"))?;
    let list = list.context("the catalog holds no list")?;
    list.to_der()
        .map_err(|error| anyhow!("the catalog's list cannot be written: {error}"))
}

fn wrap(list: &TrustList) -> der::Result<Vec<u8>> {
    let message = Unsigned {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::new(),
        // In PKCS #7 the content stands there itself, not in an octet string as in CMS.
        content: EncapsulatedContentInfo {
            econtent_type: TRUST_LIST,
            econtent: Some(Any::encode_from(list)?),
        },
        signers: SetOfVec::new(),
    };
    ContentInfo {
        oid: SIGNED_DATA,
        content: Any::encode_from(&message)?,
    }
    .to_der()
}

fn list(members: &[Member], time: i64) -> der::Result<TrustList> {
    let mut entries = Vec::new();
    // It only has to differ from those of other catalogs. What the files are decides it, so that the same files give the same catalog.
    let mut identifier = Sha256::new();
    for member in members {
        identifier.update(&member.sha256);
        entries.push(entry(member, &member.sha1, false)?);
        entries.push(entry(member, &member.sha256, true)?);
    }
    entries.sort_by(|one, other| one.hash.as_bytes().cmp(other.hash.as_bytes()));
    let seconds = u64::try_from(time).unwrap_or_default();
    let os = name_value("OS", CATALOG_OS)?;
    Ok(TrustList {
        usage: vec![CATALOG_LIST],
        identifier: OctetString::new(&identifier.finalize()[..16])?,
        this_update: UtcTime::from_unix_duration(std::time::Duration::from_secs(seconds))?,
        algorithm: algorithm(MEMBERS),
        members: entries,
        extensions: vec![Extension {
            oid: NAME_VALUE,
            value: OctetString::new(os.to_der()?)?,
        }],
    })
}

fn entry(member: &Member, hash: &[u8], with_digest: bool) -> der::Result<Entry> {
    // [0] without content for an image, [2] for another file.
    let kind = if member.image {
        TagNumber::N0
    } else {
        TagNumber::N2
    };
    let kind = Tag::ContextSpecific {
        constructed: false,
        number: kind,
    };
    let mut attributes = vec![
        attribute(MEMBER_INFO, Any::new(kind, [])?)?,
        attribute(
            NAME_VALUE,
            Any::encode_from(&name_value("File", &member.name)?)?,
        )?,
        attribute(
            NAME_VALUE,
            Any::encode_from(&name_value("OSAttr", MEMBER_OS)?)?,
        )?,
    ];
    if with_digest {
        attributes.push(attribute(
            INDIRECT_DATA,
            Any::encode_from(&indirect_data(member, hash)?)?,
        )?);
    }
    Ok(Entry {
        hash: OctetString::new(hash)?,
        attributes: SetOfVec::try_from(attributes)?,
    })
}

fn attribute(oid: ObjectIdentifier, value: Any) -> der::Result<Attribute> {
    Ok(Attribute {
        oid,
        values: SetOfVec::try_from(vec![value])?,
    })
}

fn name_value(name: &str, value: &str) -> der::Result<NameValue> {
    let wide: Vec<u8> = value
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    Ok(NameValue {
        name: BmpString::from_utf8(name)?,
        flags: ATTRIBUTE_FLAGS,
        value: OctetString::new(wide)?,
    })
}

/// The digest as a signature has it. What it is the digest of is told by an empty link.
fn indirect_data(member: &Member, digest: &[u8]) -> der::Result<IndirectData> {
    // SpcLink: [2] file, of which [0] is the name in UTF-16.
    const LINK: [u8; 4] = [0xa2, 2, 0x80, 0];
    // SpcPeImageData: the flags 101 of five unused bits, and [0] a link.
    const IMAGE: [u8; 12] = [
        0x30, 10, 3, 2, 5, 0xa0, 0xa0, 4, LINK[0], LINK[1], LINK[2], LINK[3],
    ];
    let (oid, value) = if member.image {
        (PE_IMAGE, Any::from_der(&IMAGE)?)
    } else {
        (OTHER_FILE, Any::from_der(&LINK)?)
    };
    Ok(IndirectData {
        data: TypeAndValue { oid, value },
        digest: DigestInfo {
            algorithm: algorithm(SHA256),
            digest: OctetString::new(digest)?,
        },
    })
}

fn algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned {
        oid,
        parameters: Some(Any::null()),
    }
}
