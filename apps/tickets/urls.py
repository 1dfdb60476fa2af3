"""The addresses of tickets, below /operations/."""

from django.urls import path

from apps.tickets.api import commands, tickets

urlpatterns = [
    path("ticket", tickets.OpenTicket.as_view(), name="ticket-open"),
    path("tickets", tickets.Tickets.as_view(), name="tickets"),
    path("tickets/<str:ticket_id>", tickets.OneTicket.as_view(), name="ticket"),
    path("tickets/<str:ticket_id>/acknowledge", commands.Acknowledge.as_view(), name="ticket-acknowledge"),
    path("tickets/<str:ticket_id>/assign", commands.Assign.as_view(), name="ticket-assign"),
    path("tickets/<str:ticket_id>/start", commands.Start.as_view(), name="ticket-start"),
    path("tickets/<str:ticket_id>/wait", commands.Wait.as_view(), name="ticket-wait"),
    path("tickets/<str:ticket_id>/comment", commands.Comment.as_view(), name="ticket-comment"),
    path("tickets/<str:ticket_id>/resolve", commands.Resolve.as_view(), name="ticket-resolve"),
    path("tickets/<str:ticket_id>/close", commands.Close.as_view(), name="ticket-close"),
    path("tickets/<str:ticket_id>/reopen", commands.Reopen.as_view(), name="ticket-reopen"),
    path("tickets/<str:ticket_id>/merge", commands.Merge.as_view(), name="ticket-merge"),
]
