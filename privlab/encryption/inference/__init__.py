"""Classification of records that stay encrypted: the server has the model and sees ciphertext."""
