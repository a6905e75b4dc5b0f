//! The ancestors of a path on a local volume: `\Device\HarddiskVolume3\a\b`.

const BACKSLASH: u16 = b'\\' as u16;

/// The directories on the way, as prefixes of the path: the volume's root with its backslash (without it, the name is
/// the volume's own), then each directory, the immediate parent last. None for the root itself.
pub(crate) fn ancestors(path: &[u16]) -> impl Iterator<Item = &[u16]> {
    let separator = |(at, unit): (usize, &u16)| (*unit == BACKSLASH).then_some(at);
    // `\Device`, `\HarddiskVolume3`, `\…`
    let root = path
        .iter()
        .enumerate()
        .filter_map(separator)
        .nth(2)
        .unwrap_or(path.len());
    let separators = path.iter().enumerate().skip(root).filter_map(separator);
    separators.filter_map(move |at| {
        let below = path.get(at.checked_add(1)?..)?;
        if below.iter().all(|unit| *unit == BACKSLASH) {
            // A trailing backslash ends the path's own name.
            None
        } else if at == root {
            path.get(..=at)
        } else {
            path.get(..at)
        }
    })
}
