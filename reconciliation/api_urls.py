"""The addresses of the read API, version 1."""

from __future__ import annotations

from django.urls import path
from drf_spectacular.views import SpectacularAPIView
from rest_framework.routers import SimpleRouter

from portal.api import TokenAuthentication
from reconciliation import api, bills_api, close_api, explained_api, invoicing_api, readiness_api, watching_api

router = SimpleRouter()
router.register("time-entries", api.TimeEntries, basename="api_time_entry")
router.register("expenses", api.Expenses, basename="api_expense")
router.register("ledger-entries", explained_api.LedgerEntries, basename="api_ledger_entry")
router.register("cases", api.Cases, basename="api_case")
router.register("holds", api.Holds, basename="api_hold")
router.register("change-sets", api.ChangeSets, basename="api_change_set")
router.register("bills", explained_api.Bills, basename="api_bill")
router.register("invoice-proposals", invoicing_api.InvoiceProposals, basename="api_invoice_proposal")
router.register("payments", bills_api.Payments, basename="api_payment")
router.register("reconciliation-results", api.Results, basename="api_result")
router.register("matches", close_api.Matches, basename="api_match")
router.register("certificates", close_api.Certificates, basename="api_certificate")
router.register("reconciliation-runs", close_api.Runs, basename="api_run")
router.register("matching-rules", close_api.Rules, basename="api_matching_rule")
router.register("readiness", readiness_api.Readiness, basename="api_readiness")
router.register("close-board", watching_api.CloseBoard, basename="api_close_board")
router.register("holes", watching_api.Holes, basename="api_holes")

urlpatterns = [
    *router.urls,
    path("schema/", SpectacularAPIView.as_view(authentication_classes=[TokenAuthentication]), name="api_schema"),
]
