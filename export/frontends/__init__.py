"""Front ends: trained models to deployable graphs."""
