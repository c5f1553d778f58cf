"""S3, by way of s3fs."""
