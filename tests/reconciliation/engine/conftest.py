"""The account of shares for all tests beside this file."""

from .share_desk import share_desk

__all__ = ["share_desk"]
