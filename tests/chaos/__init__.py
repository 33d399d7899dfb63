"""The torture chamber: a real Kafka, real workers, and everything that can happen to them."""
