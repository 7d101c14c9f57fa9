"""The screens of finance's desk: causes and their fixes, bulk operations, and the search over everything."""
