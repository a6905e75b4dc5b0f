<#
.SYNOPSIS
Unloads headroom.sys and removes it: the service, its settings and its files.

.DESCRIPTION
Works without the package's folder, and on what an installation left that failed in the middle. Safe to run again. The certificate and test signing stay:
prepare-vm.ps1 -Undo takes those back.

.EXAMPLE
.\uninstall.ps1
#>
#Requires -Version 5.1
[CmdletBinding()]
param(
    # A package's folder, needed only where the installed INF cannot be found.
    [string] $Package = (Split-Path -Parent $PSScriptRoot)
)

$ErrorActionPreference = 'Stop'
Set-StrictMode -Version 2.0
Import-Module (Join-Path $PSScriptRoot 'Headroom.psm1') -Force

Assert-Machine

# The INF that was installed lies beside the image in the driver store; for an image in System32\drivers it is the package's.
function Find-Inf {
    $image = Get-RegistryValue -Path $ServiceKey -Name ImagePath
    if ($image) {
        $path = $image -replace '^\\SystemRoot\\', "$env:SystemRoot\" -replace '^\\\?\?\\', ''
        $inf = Join-Path (Split-Path -Parent $path) 'headroom.inf'
        if ((Split-Path -IsAbsolute $inf) -and (Test-Path -LiteralPath $inf)) { return $inf }
    }
    $inf = Join-Path $Package 'headroom.inf'
    if (Test-Path -LiteralPath $inf) { return (Resolve-Path -LiteralPath $inf).ProviderPath }
}

Write-Host 'Uninstalling:'
Stop-Filter
$restart = $false
$failure = $null
$inf = Find-Inf
if ($inf) {
    Write-Step "undo $inf"
    try {
        $restart = Uninstall-Inf $inf
    }
    catch {
        # Not installed by this INF, or only half: what is left is removed below.
        $failure = $_.Exception.Message
    }
}
if (Test-Path -LiteralPath $ServiceKey) {
    # 1072: it is marked for deletion already, and goes when its last handle does.
    Write-Step 'remove the service that is left (sc delete)'
    Invoke-Tool sc.exe @('delete', $Service) -Success 0, 1072 | Out-Null
}
$image = Join-Path $env:SystemRoot 'System32\drivers\headroom.sys'
if (Test-Path -LiteralPath $image) {
    Write-Step "remove $image"
    Remove-Item -LiteralPath $image
}
if ($failure) {
    Write-Host "  The INF could not be undone ($failure); the service and the file it would have removed are gone."
    Write-Host '  Whether a package is left in the driver store: pnputil /enum-drivers, and pnputil /delete-driver oemNN.inf for headroom.inf.'
}
Write-Host $(if ($restart) { 'Done; Windows wants a restart to remove files in use.' } else { 'Done.' })
