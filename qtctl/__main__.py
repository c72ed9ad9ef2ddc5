"""`python -m qtctl` is `qtctl`."""

from qtctl.cli.app import main

if __name__ == "__main__":
    main()
