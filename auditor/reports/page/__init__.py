"""The report of an audit as a page for people: `page_of` computes all that it says, `to_html` lays that out."""
