"""The word count: split some texts into parts, count the words of each part, merge the counts."""
