"""Services: any command line of ours, kept running by the machine's own service manager.

What a service is (`model.Service`) is the same everywhere; systemd, launchd and Windows each write it down in their own
way. Nothing of Kafka, plugins or settings is known here.
"""

from openmsi_core.services.choosing import services_of
from openmsi_core.services.model import Service, Services, Status, refuse_name
from openmsi_core.services.secrets import environment_in

__all__ = ["Service", "Services", "Status", "environment_in", "refuse_name", "services_of"]
