//! Variables of the kernel's that drivers import: the other object types, how it was started, and which characters are legal.

use std::sync::LazyLock;

use super::{ObjectType, object};
use crate::ntos::memory::Guest;

static DRIVER: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static DEVICE: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static SEMAPHORE: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static DESKTOP: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static STATION: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static JOB: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);
static PORT: LazyLock<ObjectType> = LazyLock::new(ObjectType::new);

/// A number, zeroes behind it.
fn number(value: u64) -> usize {
    let at = object::allocate(16);
    Guest::at(at).write(value);
    at
}

/// `FSRTL_FAT_LEGAL`, `_HPFS_LEGAL`, `_NTFS_LEGAL`, `_WILD_CHARACTER`, `_OLE_LEGAL`.
const FAT: u8 = 0x1;
const HPFS: u8 = 0x2;
const NTFS: u8 = 0x4;
const WILD: u8 = 0x8;
const OLE: u8 = 0x10;

/// What a character may be in, by the naming rules of each file system ("Naming Files, Paths, and Namespaces").
const fn legal(character: u8) -> u8 {
    match character {
        0 => 0,
        1..=0x1F => OLE,
        b'"' | b'*' | b'<' | b'>' | b'?' => WILD,
        b'/' | b':' => 0,
        b'\\' | b'|' => OLE,
        // Not in a short name.
        b'+' | b',' | b';' | b'=' | b'[' | b']' => HPFS | NTFS | OLE,
        _ => FAT | HPFS | NTFS | OLE,
    }
}

/// Where the table is: drivers import the variable that leads to it.
static LEGAL: LazyLock<usize> = LazyLock::new(|| {
    let table = object::allocate(128);
    let all: Vec<u8> = (0..128).map(legal).collect();
    Guest::at(table).write_many(&all);
    number(table as u64)
});

/// A static number that drivers read.
macro_rules! shared {
    ($value:expr) => {{
        static AT: LazyLock<usize> = LazyLock::new(|| number($value));
        *AT
    }};
}

exports! { "ntoskrnl.exe";
    data IoDriverObjectType = || DRIVER.variable;
    data IoDeviceObjectType = || DEVICE.variable;
    data ExSemaphoreObjectType = || SEMAPHORE.variable;
    data ExDesktopObjectType = || DESKTOP.variable;
    data ExWindowStationObjectType = || STATION.variable;
    data PsJobType = || JOB.variable;
    data LpcPortObjectType = || PORT.variable;

    /// Which characters each file system takes.
    data FsRtlLegalAnsiCharacterArray = || *LEGAL;
    /// Whether Windows was started in safe mode.
    data InitSafeBootMode = || shared!(0);
    /// Whether physical addresses have more than 32 bits.
    data Mm64BitPhysicalAddress = || shared!(1);
    /// Whether the code pages have characters of two bytes.
    data NlsMbCodePageTag = || shared!(0);
    data NlsMbOemCodePageTag = || shared!(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_no_names() {
        for wild in b"*?<>\"" {
            assert_eq!(legal(*wild), WILD);
        }
        assert_eq!(legal(b'a'), FAT | HPFS | NTFS | OLE);
        assert_eq!(legal(b';') & FAT, 0);
        assert_eq!(legal(b':'), 0);
    }
}
