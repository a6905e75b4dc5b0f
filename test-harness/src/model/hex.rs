//! Addresses in saved data: strings, `"0x7ff0…"`, because a JSON number of that size is another one in most readers, which take
//! numbers for floating point. What was saved as numbers is read as well.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An address, or a word that may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex(pub u64);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl de::Visitor<'_> for Either {
            type Value = Hex;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, as \"0x…\" or a number")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Hex, E> {
                Ok(Hex(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Hex, E> {
                let digits = text.strip_prefix("0x");
                digits
                    .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                    .map(Hex)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// What is made of addresses.
pub(super) trait Addresses: Sized {
    /// The same of [`Hex`].
    type Told: Serialize + for<'de> Deserialize<'de>;

    fn told(&self) -> Self::Told;
    fn read(told: Self::Told) -> Self;
}

impl Addresses for u64 {
    type Told = Hex;

    fn told(&self) -> Hex {
        Hex(*self)
    }

    fn read(Hex(address): Hex) -> Self {
        address
    }
}

macro_rules! arrays {
    ($($count:literal)*) => {$(
        impl Addresses for [u64; $count] {
            type Told = [Hex; $count];

            fn told(&self) -> Self::Told {
                self.map(Hex)
            }

            fn read(told: Self::Told) -> Self {
                told.map(|Hex(address)| address)
            }
        }
    )*};
}
arrays!(2 4);

impl<T: Addresses> Addresses for Vec<T> {
    type Told = Vec<T::Told>;

    fn told(&self) -> Self::Told {
        self.iter().map(T::told).collect()
    }

    fn read(told: Self::Told) -> Self {
        told.into_iter().map(T::read).collect()
    }
}

/// For `#[serde(with)]`.
pub(super) mod addresses {
    use super::{Addresses, Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub(in super::super) fn serialize<T: Addresses, S: Serializer>(
        addresses: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        addresses.told().serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, T: Addresses, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        T::Told::deserialize(deserializer).map(T::read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_strings_and_read_as_either() {
        let high = 0xffff_f800_0000_1234;
        let text = serde_json::to_string(&[Hex(high), Hex(8)]).unwrap();
        assert_eq!(text, r#"["0xfffff80000001234","0x8"]"#);
        assert_eq!(
            serde_json::from_str::<[Hex; 2]>(&text).unwrap(),
            [Hex(high), Hex(8)]
        );
        let older = format!("[{high}, 8]");
        assert_eq!(
            serde_json::from_str::<[Hex; 2]>(&older).unwrap(),
            [Hex(high), Hex(8)]
        );
        for bad in [r#"["12", 8]"#, r#"["0xg", 8]"#, "[-1, 8]", "[1.5, 8]"] {
            let error = serde_json::from_str::<[Hex; 2]>(bad).unwrap_err();
            assert!(error.to_string().contains("an address"), "{error}");
        }
    }
}
