//! PE images.

/// A mapped driver.
pub(crate) struct Image {
    /// Its name, without extension.
    pub(crate) name: String,
    /// Where it lies.
    pub(crate) base: usize,
    /// How long it is.
    pub(crate) size: usize,
    /// `DriverEntry`.
    pub(crate) entry: usize,
}
