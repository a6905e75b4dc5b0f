//! What to load, as the driver's INF file says it.

use std::path::Path;

use inf::{Data, Service};

use super::{DriverSpec, KeyValue, RegistryValue};

impl DriverSpec {
    /// The driver `image`, installed as the service that an INF file describes ([`inf::minifilter`]), with all of its key. Which of the two
    /// places for instances is written is the INF's affair: `Parameters\Instances` in an isolated form, `Instances` in one for older Windows.
    #[must_use]
    pub fn installed(image: &Path, service: &Service) -> Self {
        let values = service.key(r"\SystemRoot\System32\DriverStore\FileRepository");
        Self {
            image: image.to_owned(),
            service: service.name.clone(),
            values: values.into_iter().map(KeyValue::from).collect(),
            ..Self::default()
        }
    }
}

impl From<inf::Value> for KeyValue {
    fn from(value: inf::Value) -> Self {
        Self {
            subkey: value.subkey,
            name: value.name,
            value: match value.data {
                Data::None(bytes) => RegistryValue::None(bytes),
                Data::Sz(text) => RegistryValue::Sz(text),
                Data::ExpandSz(text) => RegistryValue::ExpandSz(text),
                Data::Binary(bytes) => RegistryValue::Binary(bytes),
                Data::Dword(number) => RegistryValue::Dword(number),
                Data::MultiSz(texts) => RegistryValue::MultiSz(texts),
                Data::Qword(number) => RegistryValue::Qword(number),
            },
        }
    }
}
