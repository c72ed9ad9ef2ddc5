"""What surrounds the code is true: the release, the walks of CONTRIBUTING.md, the pictures."""
