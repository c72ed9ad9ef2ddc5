"""`python -m qtctl` is `qtctl`."""

from qtctl.cli.main import main

if __name__ == "__main__":
    main()
