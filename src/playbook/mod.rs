//! Plays, blocks, tasks, roles: typed, spanned, validated; runs nothing.
