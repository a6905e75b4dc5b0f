//! Numbers with names. None of them has an invalid value.

/// Declares a number of which some values have names.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident: $repr:ident { $($(#[$value_doc:meta])* $name:ident = $value:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, Hash, ::zerocopy::FromBytes, ::zerocopy::IntoBytes, ::zerocopy::KnownLayout,
            ::zerocopy::Immutable,
        )]
        #[repr(transparent)]
        pub struct $type(pub $repr);

        impl $type {
            $($(#[$value_doc])* pub const $name: Self = Self($value);)*

            /// The values that have names.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The value's name, where this version knows it.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)*
                    _ => None,
                }
            }
        }

        impl ::core::fmt::Display for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => write!(f, "{:#04x}", self.0),
                }
            }
        }

        impl ::core::fmt::Debug for $type {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Display::fmt(self, f)
            }
        }
    };
}

pub(crate) use named;
