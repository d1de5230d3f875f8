"""Networks, their layers and first weights, transfer, and the LightningModule that trains them."""
