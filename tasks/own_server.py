"""The Prefect server that a command starts for itself, told from one that other flow runs share.

Without an address Prefect starts a temporary server for the process, and nobody else knows of it. The command line
starts one by itself (`flows.temporary`), which is as much its own and has an address nevertheless: it is named in
`REC_DENOISER_OWN_SERVER`, which the command sets for itself and for the processes under it.
"""

import os

from prefect.settings import get_current_settings

OWN_SERVER_VARIABLE = "REC_DENOISER_OWN_SERVER"


def server_is_shared() -> bool:
    """Do flow runs of other processes use the same Prefect server?"""
    address = get_current_settings().api.url
    return address is not None and address != os.environ.get(OWN_SERVER_VARIABLE)
