//! Two forms of a module: one keeps what it makes in a file, the other (`…_pipe`) is given what there is and returns what there is
//! to be. What they want of it is the same, and is declared once.

use crate::modules::scalars::Text;

/// Declares the arguments of both forms, and a view of those that they share: `shared()` of either.
macro_rules! twin_arguments {
    (
        shared $view:ident { $($(#[$shared:meta])* pub $field:ident : $kind:ty),* $(,)? }
        $(#[$file_meta:meta])* file $file:ident { $($file_own:tt)* }
        $(#[$pipe_meta:meta])* pipe $pipe:ident { $($pipe_own:tt)* }
    ) => {
        crate::modules::files::common::file_arguments! {
            $(#[$file_meta])*
            pub struct $file { $($file_own)* $($(#[$shared])* pub $field: $kind,)* }
        }

        crate::arguments! {
            $(#[$pipe_meta])*
            pub struct $pipe { $($pipe_own)* $($(#[$shared])* pub $field: $kind,)* }
        }

        /// What both forms are told.
        #[allow(dead_code, reason = "some arguments are accepted for Ansible's sake and mean nothing here")]
        #[derive(Clone, Copy)]
        pub(super) struct $view<'a> { $(pub $field: &'a $kind),* }

        impl $file {
            fn shared(&self) -> $view<'_> {
                $view { $($field: &self.$field),* }
            }
        }

        impl $pipe {
            #[allow(dead_code, reason = "the form of a module that runs on the controller alone is none of the agent's")]
            pub(super) fn shared(&self) -> $view<'_> {
                $view { $($field: &self.$field),* }
            }
        }
    };
}

/// What a play gave to a module that keeps nothing; no text is nothing.
pub(super) fn given(content: Option<&Text>) -> Option<Vec<u8>> {
    content.map(|content| content.0.clone().into_bytes())
}
