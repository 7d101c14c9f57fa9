"""Each case about talking to other systems and each connector: the test that proves it, or in words why there is none.

Written by hand, and read by `test_cases_of_connectors`.
`EVERY` is the file whose tests are of all connectors at once.
"""

from __future__ import annotations

from collections.abc import Mapping

HERE = "Tieout decides it before a connector is asked:"
EVERY = "test_every_connector.py"

DECIDED_HERE: Mapping[int, str] = {
    24: f"{HERE} that two accounts are one customer is said in the crosswalk.",
    29: f"{HERE} what names a record that is not there waits for its arrival.",
    64: f"{HERE} a key carries its generation, so that what is booked anew has another.",
    65: f"{HERE} a key is kept with the hash of its body, and is not sent with another.",
    111: f"{HERE} an hour for another entity is held by a rule.",
    112: f"{HERE} a price list between entities is asked for by a rule.",
    113: f"{HERE} both legs are checked before either goes, and what is booked anew waits for the receipt of its reversal.",
    114: f"{HERE} the work date says which target an hour is owed to.",
    122: f"{HERE} who said a thing is kept with it, and it is not told to them again.",
}

SOURCES = {
    "businesscentral": "test_contract_businesscentral.py::TestBusinessCentralSource",
    "clockify": "test_clockify.py::TestContract",
    "dynamicsfinance": "test_contract_dynamicsfinance.py::TestDynamicsFinanceSource",
    "harvest": "test_harvest.py::TestContract",
    "netsuite": "test_contract_netsuite.py::TestNetSuiteSource",
    "projectoperations": "test_contract_projectoperations.py::TestProjectOperationsSource",
    "salesforce": "test_salesforce.py::TestContract",
    "stripe": "test_contract_stripe.py::TestStripeSource",
    "tempo": "test_tempo.py::TestContract",
    "tryton": "test_contract_tryton.py::TestTrytonSource",
}
TARGETS = {
    "businesscentral": "test_contract_businesscentral.py::TestBusinessCentralTarget",
    "dynamicsfinance": "test_contract_dynamicsfinance.py::TestDynamicsFinanceTarget",
    "netsuite": "test_contract_netsuite.py::TestNetSuiteTarget",
    "projectoperations": "test_contract_projectoperations.py::TestProjectOperationsTarget",
    "tryton": "test_contract_tryton.py::TestTrytonTarget",
}
BILLERS = {
    "businesscentral": "test_contract_billers.py::TestBusinessCentral",
    "dynamicsfinance": "test_contract_billers.py::TestDynamicsFinance",
    "netsuite": "test_contract_billers.py::TestNetSuite",
    "stripe": "test_contract_stripe.py::TestStripeBiller",
}
_CALLED = ("businesscentral", "clockify", "netsuite", "salesforce", "stripe", "tempo")
_SILENT = {
    "dynamicsfinance": "Its business events go to an event grid or a queue and not to us; what moved is found by reading.",
    "files": "A folder tells nobody that a file came; it is looked into by schedule.",
    "harvest": "Harvest has no webhooks.",
    "projectoperations": "Dataverse's webhooks are not used; what moved is found by its `modifiedon` with every reading.",
    "tryton": "Tryton has no webhooks.",
}


def _each(classes: Mapping[str, str], test: str) -> dict[str, str]:
    return {name: f"{where}::{test}" for name, where in classes.items()}


def _by_call(test: str) -> dict[str, str]:
    return {**dict.fromkeys(_CALLED, f"{EVERY}::{test}"), **_SILENT}


_NO_POSTINGS = dict.fromkeys(("clockify", "harvest", "salesforce", "stripe", "tempo", "files"), "It books no postings.")

TABLE: Mapping[int, Mapping[str, str]] = {
    22: {
        "businesscentral": "Merging deletes the duplicate, which the API tells as little as the name of the survivor.",
        "clockify": "Its clients are archived or deleted; it merges none.",
        "dynamicsfinance": "It merges parties of its address book; the customer accounts that we read both stay.",
        "files": "A file keeps no customers of its own.",
        "harvest": "Its clients are archived or deleted; it merges none.",
        "netsuite": "Merging deletes the duplicate and names no survivor, so that a customer is gone (case 23).",
        "projectoperations": "test_projectoperations.py::TestMasterData::test_a_merged_account_names_the_one_that_survives_it",
        "salesforce": "test_salesforce.py::test_a_merged_account_names_the_one_that_survives_it",
        "stripe": "Stripe merges no customers.",
        "tempo": "Its accounts belong to customers that are kept without merges.",
        "tryton": "test_tryton.py::TestMasterData::test_it_is_named_by_ids_and_says_what_tryton_says",
    },
    62: {
        **_each(TARGETS, "test_each_posting_has_one_outcome_in_its_order"),
        "clockify": "It is told one project or task a call.",
        "files": "It is told nothing.",
        "harvest": "It is told one project or task a call.",
        "salesforce": "test_salesforce_statuses.py::test_of_a_collection_each_record_stands_or_falls_alone",
        "stripe": "It is told one draft at a time; a line that is refused is the draft's refusal.",
        "tempo": "It is told nothing.",
    },
    63: {
        **_each(TARGETS, "test_a_yes_of_which_nothing_was_kept_proves_nothing_and_what_goes_again_is_booked_once"),
        **_NO_POSTINGS,
    },
    66: {**_each(
            SOURCES, "test_a_fault_at_any_call_of_a_walk_is_named_by_what_we_do_next_and_the_walk_goes_on_without_loss"
        ), "files": "A folder and a server of files have no limit of calls."},
    68: {
        "businesscentral": "test_businesscentral.py::test_every_error_body_of_the_card_is_named_by_what_we_do_next",
        "clockify": "test_contract_recipients.py::TestClockify::"
        "test_a_field_that_it_came_to_demand_is_a_changed_schema_in_its_own_words_and_nothing_is_made",
        "dynamicsfinance": "test_dynamicsfinance.py::test_every_infolog_is_named_by_what_we_do_next",
        "files": "It is told nothing.",
        "harvest": "test_contract_recipients.py::TestHarvest::"
        "test_a_field_that_it_came_to_demand_is_a_changed_schema_in_its_own_words_and_nothing_is_made",
        "netsuite": "test_netsuite_connector.py::TestRefusals::test_a_field_that_netsuite_has_come_to_demand_is_a_changed_schema",
        "projectoperations": "test_projectoperations.py::test_every_error_body_is_named_by_what_we_do_next",
        "salesforce": "test_salesforce.py::test_every_error_body_of_the_card_is_named_by_what_we_do_next",
        "stripe": "test_stripe.py::test_every_error_is_named_by_what_we_do_next",
        "tempo": "It is told nothing.",
        "tryton": "test_tryton.py::test_every_word_for_no_is_a_thing_that_we_do_next",
    },
    72: {
        **_each(BILLERS, "test_a_bill_of_more_lines_than_it_takes_is_two_that_are_held_whole_and_add_up"),
        "clockify": "It makes no document of many lines.",
        "files": "It makes no document.",
        "harvest": "It makes no document of many lines.",
        "projectoperations": "Each hour is a record of its own there.",
        "salesforce": "It is told how bills stand, and none of their lines.",
        "tempo": "It makes no document.",
        "tryton": "Each hour is a line of its own on a timesheet that has no end.",
    },
    73: {
        **_each(TARGETS, "test_what_somebody_changed_there_meanwhile_is_named_so_and_booked_once_when_it_comes_again"),
        "projectoperations": "test_projectoperations.py::TestPosting::"
        "test_a_key_that_comes_again_with_other_hours_changes_nothing_and_reads_back_different",
        "clockify": "Its writes bear no version, and it refuses none because of another's change.",
        "files": "It is told nothing.",
        "harvest": "Its writes bear no version, and it refuses none because of another's change.",
        "salesforce": "test_salesforce_statuses.py::"
        "test_what_somebody_else_writes_at_once_is_waited_for_and_what_they_changed_is_told_and_put_right_in_place",
        "stripe": "test_stripe_drafts.py::test_what_somebody_changed_of_a_draft_is_a_difference_and_not_an_absence",
        "tempo": "It is told nothing.",
    },
    74: {
        "businesscentral": "test_contract_billers.py::TestBusinessCentral::"
        "test_the_invoice_says_what_we_call_it_whose_project_it_bills_and_which_hours_a_line_is_about",
        "clockify": "The clients, projects and rates that we write are not among its streams.",
        "dynamicsfinance": "test_contract_billers.py::TestDynamicsFinance::"
        "test_the_invoice_that_comes_back_says_which_hours_its_lines_bill_and_what_we_call_it",
        "files": "It is told nothing.",
        "harvest": "The clients, projects and rates that we write are not among its streams.",
        "netsuite": "test_netsuite_billing.py::test_an_invoice_names_the_time_bills_that_it_bills_with_its_figures_as_booked",
        "projectoperations": "Entries that we made are not among its streams.",
        "salesforce": "The objects that we write are not among its streams.",
        "stripe": "test_stripe_drafts.py::"
        "test_a_line_is_hours_times_price_or_one_piece_with_its_hours_beside_it_and_comes_back_as_it_went",
        "tempo": "It is told nothing.",
        "tryton": "test_tryton.py::TestBills::"
        "test_hours_that_we_booked_come_back_on_the_invoice_under_the_number_of_their_receipt",
    },
    117: _by_call("test_a_repetition_is_the_same_delivery_whatever_stands_around_it"),
    118: _by_call("test_a_call_is_a_hint_that_names_a_record_and_is_never_believed"),
    119: _by_call("test_what_is_forged_is_refused_at_the_door_counted_and_not_kept_and_what_is_ours_is_taken_once"),
    120: {
        **_each({name: SOURCES[name] for name in _CALLED}, "test_what_changes_while_a_walk_is_cut_is_filed_as_it_is_then"),
        **_SILENT,
    },
    121: _by_call("test_a_repetition_is_the_same_delivery_whatever_stands_around_it"),
    123: _by_call("test_while_a_secret_is_changed_the_old_and_the_new_one_are_both_good_and_a_third_is_not"),
    132: {
        **_each(SOURCES, "test_a_test_of_the_account_that_is_refused_at_any_of_its_calls_says_so"),
        "files": "test_files_folder.py::test_a_missing_folder_is_unavailable_and_a_foreign_address_malformed",
    },
}  # fmt: skip
