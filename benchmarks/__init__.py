"""What durability costs, beside plain execution and beside others: `make bench`."""
