"""Model calls: seen on the wire, counted, priced, and served again without being paid twice."""
