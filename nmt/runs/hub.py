"""Packed models on the Hugging Face hub."""

from pathlib import Path

from nmt.errors import CheckpointError

HUB = "hub:"  # the prefix that marks the name of a model on the hub
MODEL = "model.zip"  # the name of the packed model in a repository


def download(name: str) -> Path:
    """Return the packed model of a repository, from the hub or from huggingface_hub's cache.

    Args:
        name: ``OWNER/NAME``, or ``OWNER/NAME@REVISION`` for a branch, tag or commit.

    Raises:
        CheckpointError: if there is no such model, or the hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download

    repository, _, revision = name.partition("@")
    try:
        return Path(hf_hub_download(repository, MODEL, revision=revision or None, library_name="nmt"))
    except Exception as error:  # the library raises many kinds: no network, no repository, no such file, a wrong name
        raise CheckpointError(
            f"{HUB}{name}: no packed model could be downloaded from the hub ({_first_line(error)}); "
            f"nmt push uploads one"
        ) from None


def upload(folder: Path, name: str, private: bool) -> str:
    """Upload the files of a folder to a repository, which is created if it is missing; return its address.

    Args:
        folder: the folder with the packed model and its card.
        name: ``OWNER/NAME``.
        private: whether a new repository is visible to its owner only.

    Raises:
        CheckpointError: if the hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="nmt")
    try:
        address = str(api.create_repo(name, private=private, exist_ok=True))
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="A model packed by nmt")
    except Exception as error:  # the library raises many kinds: no network, no token, no right to write
        raise CheckpointError(
            f"{HUB}{name}: could not be uploaded ({_first_line(error)}); check the network, or log in with "
            f"`hf auth login`"
        ) from None
    return address


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
