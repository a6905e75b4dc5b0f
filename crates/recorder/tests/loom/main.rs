//! Every interleaving of small cases, under the C11 memory model; and of each ordering, that weakening it makes a case fail.
#![cfg(feature = "loom")]

mod attached;
mod images;
mod orderings;
mod ring;
mod table;

/// The cases, by name. Short ones first: a weakened ordering is tried on one after the other until one fails.
macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => {
        const CASES: &[(&str, fn())] = &[$((stringify!($case), $module::$case)),*];
        $(#[test]
        fn $case() {
            $module::$case();
        })*
    };
}

cases! {
    attached::memory_that_is_given_is_seen_as_it_was_left,
    images::a_kept_name_is_found_whole_and_for_its_process_alone,
    images::of_two_names_kept_at_once_none_is_mixed,
    ring::two_writers_never_share_a_slot,
    ring::a_reader_never_sees_half_a_record_while_a_writer_laps_it,
    ring::a_drain_beside_a_writer_misses_nothing_and_shows_whole_records,
    ring::a_late_completion_finds_its_own_record_or_none,
    ring::a_sequence_that_is_stepped_over_carries_no_record,
    ring::two_readers_and_a_writer_on_one_slot,
    table::a_sample_never_lands_in_the_marks_of_the_image_that_took_its_place,
    table::two_creates_enter_one_image_once_and_both_count,
    table::the_marks_of_a_former_image_hide_nothing_of_the_next,
    table::an_image_is_entered_in_one_place_though_there_are_two,
    table::a_mark_is_never_lost_and_a_late_one_never_counts,
    table::a_create_amid_a_reset_is_of_one_generation,
}

/// Explores with at most this many forced switches: three threads beyond that take hours.
pub(crate) fn explore(preemptions: usize, case: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(case);
}
